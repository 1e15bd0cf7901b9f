"""From an encoded image to the network's crop: the one way, for training and for test images."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from lsoftmax.errors import UserError

from .decode import ImageError, decode_image, is_turned
from .similarity import ESTIMATORS, rms_residual, umeyama
from .templates import MEAN_LFW, MEAN_SIZE, TEMPLATES
from .warp import LEAST_AREA, warp

WARN_RESIDUAL, MAX_RESIDUAL = 10.0, 20.0  # px; LFW's 13,233 stay below 12.2, swapped eyes give 22
Landmarks = np.ndarray | Callable[[np.ndarray], np.ndarray | None] | None
Align = Literal["umeyama", "cp2tform", "fixed", "none"]


class NoFace(ImageError):
    """The image may be whole, but there is no face to cut out."""


class Remarks(dict[str, int]):
    """What was noticed, and how often: kind -> count."""

    def add(self, kind: str, count: int = 1) -> None:
        self[kind] = self.get(kind, 0) + count

    def said(self) -> list[str]:
        """In words."""
        return [f"{count} images: {kind}" for kind, count in self.items()]


@dataclass(frozen=True)
class Crop:
    """How faces are cut out.

    align: umeyama or cp2tform, by five landmarks; fixed, one cut for all images of 250 x 250, which is not the paper's
        procedure; none, images that are aligned already.
    swap_rb: the source has red and blue exchanged.
    """

    size: tuple[int, int] = (112, 96)
    align: Align = "umeyama"
    swap_rb: bool = False

    def __post_init__(self) -> None:
        if self.size not in TEMPLATES:
            raise UserError(f"size={self.size}: must be one of {', '.join(map(str, TEMPLATES))}")
        if self.align not in (*ESTIMATORS, "fixed", "none"):
            raise UserError(
                f"align={self.align}: must be umeyama, cp2tform or fixed; aligned=true takes aligned images"
            )

    @property
    def needs_landmarks(self) -> bool:
        return self.align in ESTIMATORS

    def describe(self) -> dict[str, Any]:
        """What training and testing must agree on."""
        template = "none" if self.align == "none" else "SphereFace" if self.size == (112, 96) else "ArcFace"
        return {
            "size": list(self.size),
            "alignment": {"method": self.align, "template": template},
            "colour": "RGB",
        }

    def __call__(self, content: bytes, landmarks: Landmarks = None, remarks: Remarks | None = None) -> np.ndarray:
        """(H, W, 3) uint8, RGB.

        landmarks: (5, 2) where the alignment needs them, or a detector to ask.
        remarks: gets what was noticed.
        ImageError for what is no image, NoFace for one that cannot be aligned.
        """
        remarks = Remarks() if remarks is None else remarks
        image = decode_image(content)
        if is_turned(image):
            remarks.add("EXIF orientation ignored")
        if self.align == "none":
            image = self._as_it_is(image, remarks)
        elif self.align == "fixed":
            if (image.height, image.width) != MEAN_SIZE:
                raise NoFace(f"{image.height} x {image.width}: align=fixed is for images of 250 x 250")
            image = warp(image, self._fixed, self.size)
        else:
            points = landmarks(np.asarray(image)) if callable(landmarks) else landmarks
            image = warp(image, self._matrix(points, remarks), self.size)
        pixels = np.asarray(image)
        return pixels[..., ::-1] if self.swap_rb else pixels

    @cached_property
    def _fixed(self) -> np.ndarray:
        return umeyama(MEAN_LFW, TEMPLATES[self.size])

    def _matrix(self, landmarks: np.ndarray | None, remarks: Remarks) -> np.ndarray:
        if landmarks is None:
            raise NoFace("no landmarks")
        template = TEMPLATES[self.size]
        try:
            matrix = ESTIMATORS[self.align](landmarks, template)
        except (ValueError, np.linalg.LinAlgError) as error:
            raise NoFace(f"landmarks do not determine a face ({error})") from None
        residual = rms_residual(matrix, landmarks, template)
        if not residual <= MAX_RESIDUAL:  # nor nan
            raise NoFace(f"landmarks miss a face by {residual:.0f} px; is their order left eye, right eye, nose, ...?")
        if not abs(np.linalg.det(matrix[:, :2])) > LEAST_AREA:
            raise NoFace("landmarks do not determine a face (too far apart)")
        if residual > WARN_RESIDUAL:
            remarks.add(f"landmarks miss a face by over {WARN_RESIDUAL:.0f} px")
        return matrix

    def _as_it_is(self, image: Any, remarks: Remarks) -> Any:
        height, width = self.size
        if (image.height, image.width) == self.size:
            return image
        if (image.height, image.width, width) == (112, 112, 96):  # the narrow crop is its columns 8 .. 103
            return image.crop((8, 0, 104, 112))
        remarks.add(f"of another size than {height} x {width}, scaled")
        scale = max(height / image.height, width / image.width)
        # One of them is 0, but for rounding, and Pillow takes nothing below.
        left, top = max(0.0, (image.width - width / scale) / 2), max(0.0, (image.height - height / scale) / 2)
        return image.resize((width, height), box=(left, top, image.width - left, image.height - top), resample=2)
