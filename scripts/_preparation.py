"""From an encoded image to the bytes that a network takes."""

import io
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from configs.errors import ConfigError
from data.faces.crop import Crop, Remarks
from data.faces.decode import FORMATS, ImageError, decode_image
from data.faces.packed import check_same_preparation
from data.faces.templates import MEAN_SIZE, TEMPLATES
from lsoftmax.errors import UserError
from scripts._network import Network

NARROW, WIDE = TEMPLATES  # 112 x 96 is cut out of 112 x 112, the same face with more beside it


class Preparation:
    """Aligned faces are cropped as for the training, other images are taken as they are.

    align: none, or fixed for faces of 250 x 250 (one cut for all).
    resize: scale images of another size, cutting off what sticks out; else they are an ImageError.
    made: of faces from a pack, how they were prepared: they are pixels already.
    remarks: what was noticed in images so far, and how often. notes: what cannot be known of how they were made.
    UserError if they are not made as those that the network was trained on.
    """

    def __init__(
        self, network: Network, *, align: str = "none", resize: bool = False, made: dict[str, Any] | None = None
    ) -> None:
        if align not in ("none", "fixed"):
            raise ConfigError(f"align must be none (aligned images) or fixed (250 x 250, one cut), got {align!r}")
        if align == "fixed" and not network.takes_faces:
            raise ConfigError("align=fixed is for faces, and this run's network is for other images")
        self.channels, *size = network.image_shape
        self.size = (size[0], size[1])
        self.accepted = [self.size, *([WIDE] if network.takes_faces and self.size == NARROW else [])]
        if align == "fixed":
            self.accepted = [MEAN_SIZE]
        self.resize = resize and align == "none"
        self.crop = Crop(size=self.size, align=align) if network.takes_faces else None  # type: ignore[arg-type]
        self.remarks = Remarks()
        self.notes: list[str] = []
        if network.made is not None and self.crop is not None:
            self.notes = check_same_preparation(network.made, made or self.crop.describe())
        elif made is not None and tuple(made["size"]) != self.size:
            raise UserError(f"these faces are {_x(made['size'])}, the run's network takes {_x(self.size)}")

    def __call__(self, content: bytes | np.ndarray) -> np.ndarray:
        """(C, H, W) uint8. ImageError for what is no image, or of the wrong size; pixels are taken as they are."""
        if isinstance(content, np.ndarray):
            return content
        if not self.resize:
            self._check_size(content)
        if self.crop is not None:
            return np.asarray(self.crop(content, remarks=self.remarks)).transpose(2, 0, 1)
        image = decode_image(content)
        if (image.height, image.width) != self.size:
            self.remarks.add(f"{image.height} x {image.width} scaled to {self.size[0]} x {self.size[1]}")
            image = ImageOps.fit(image, self.size[::-1], Image.Resampling.BILINEAR)
        pixels = np.asarray(image.convert("L") if self.channels == 1 else image)
        return pixels[None] if self.channels == 1 else pixels.transpose(2, 0, 1)

    def _check_size(self, content: bytes) -> None:
        try:
            width, height = Image.open(io.BytesIO(content), formats=FORMATS).size
        except Exception:  # no image: decoding it says why
            return
        if (height, width) not in self.accepted:
            wanted = " or ".join(f"{rows} x {columns}" for rows, columns in self.accepted)
            remedy = "" if self.accepted == [MEAN_SIZE] else " or resize=true"
            raise ImageError(f"{height} x {width} pixels (rows x columns), wanted {wanted}{remedy}")


def _x(size: Iterable[int]) -> str:
    return " x ".join(map(str, size))
