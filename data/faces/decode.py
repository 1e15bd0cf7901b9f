"""Encoded images -> RGB bytes, by Pillow, within limits that are checked before any pixel is decoded."""

import io
from typing import TYPE_CHECKING

import numpy as np

from lsoftmax.errors import UserError, one_line

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "BMP")
IMAGE_BYTES, MAX_SIDE, MAX_PIXELS = 64 * 2**20, 4096, 16 * 2**20  # face sets stay far below
ORIENTATION = 0x0112  # the EXIF tag


class ImageError(UserError):
    """These bytes are no image that is accepted here. The message does not know the file's name."""


def decode(content: bytes) -> np.ndarray:
    """(H, W, 3) uint8, RGB, from a JPEG, PNG or BMP file's content; as stored, whatever EXIF says about turning it.

    Grey, palette, CMYK and 16-bit images become RGB of 8 bits; transparency is dropped. Raises ImageError for anything
    that is no such image, is truncated, has several frames, or is larger than the limits.
    """
    return np.asarray(decode_image(content))


def decode_image(content: bytes) -> "Image.Image":
    """The same as a Pillow image of mode RGB, loaded."""
    from PIL import Image

    if len(content) > IMAGE_BYTES:
        raise ImageError(f"{len(content):,} bytes, more than the {IMAGE_BYTES:,} of a face image")
    if not content:
        raise ImageError("empty")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageError(f"too large an image ({error})") from None
    except Exception:  # its parsers raise whatever a damaged header leads to
        raise ImageError("not a JPEG, PNG or BMP image") from None
    _check_header(image)
    try:
        image.load()
        return image if image.mode == "RGB" else _to_rgb(image)
    except Exception as error:
        raise ImageError(f"cannot be decoded ({one_line(error)})") from None


def is_turned(image: "Image.Image") -> bool:
    """Whether EXIF asks viewers to turn or mirror it. We do not: landmark lists were made on the stored pixels."""
    if "exif" not in image.info:
        return False
    try:
        return image.getexif().get(ORIENTATION, 1) not in (0, 1)
    except Exception:  # damaged EXIF data say nothing
        return False


def _check_header(image: "Image.Image") -> None:
    width, height = image.size
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ImageError(f"{width} x {height} pixels, more than {MAX_SIDE} a side or {MAX_PIXELS:,} in all")
    if image.format not in FORMATS or getattr(image, "n_frames", 1) != 1:
        raise ImageError("more than one frame")


def _to_rgb(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits: Pillow's own conversion would clip at 255
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    image.info.pop("transparency", None)  # or Pillow warns that it is dropped
    return image.convert("RGB")
