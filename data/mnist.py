"""MNIST from its idx files (LeCun et al. 1998): 60,000 + 10,000 digits of 28 x 28 pixels."""

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lsoftmax.errors import UserError

from .download import ensure_files
from .integrity import check_md5, existing, read_at_most, remedy
from .request import Request
from .sets import ImageSet

FOLDER = "MNIST/raw"
TRAIN_IMAGES, TEST_IMAGES = 60_000, 10_000
CLASS_NAMES = tuple("0123456789")
# md5 of the uncompressed files
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def read(request: Request) -> tuple[ImageSet, ImageSet]:
    """(training images, test images), each (N, 1, 28, 28)."""
    ensure_files("MNIST", request.root, [f"{FOLDER}/{name}" for name in MD5], download=request.download)
    folder = request.root / FOLDER
    train = _read_part(folder, "train", TRAIN_IMAGES, check=request.check_integrity)
    test = _read_part(folder, "t10k", TEST_IMAGES, check=request.check_integrity)
    return train, test


def _read_part(folder: Path, part: str, count: int, *, check: bool) -> ImageSet:
    images = read_idx(folder / f"{part}-images-idx3-ubyte", (count, 28, 28), check=check)
    path = folder / f"{part}-labels-idx1-ubyte"
    labels = read_idx(path, (count,), check=check)
    if int(labels.max()) >= len(CLASS_NAMES):
        raise UserError(f"{path}: label {int(labels.max())} is outside 0 .. {len(CLASS_NAMES) - 1}; {remedy()}")
    return ImageSet(images.unsqueeze(1), labels.long(), CLASS_NAMES)


def read_idx(path: Path, shape: tuple[int, ...], *, check: bool) -> Tensor:
    """A uint8 tensor of this shape from an idx file, or from the same with .gz behind it.

    The file: two zero bytes, 8 for unsigned bytes, the number of dimensions, each of these as a big-endian int32, and
    the data. Raises UserError unless every byte of that is there and none behind it.
    """
    path = existing(path) or path
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
    size = len(header) + int(np.prod(shape))
    content = read_at_most(path, size)
    # The header first: "another file" says more than "too short".
    if not header[:4].startswith(content[:4]):
        raise UserError(f"{path}: not an idx file of unsigned bytes in {len(shape)} dimensions; {remedy()}")
    if len(content) >= len(header) and not content.startswith(header):
        found = struct.unpack(f">{len(shape)}I", content[4 : len(header)])
        raise UserError(f"{path}: holds an array of {found} instead of {shape}; {remedy()}")
    if len(content) < size:
        raise UserError(f"{path}: truncated, {len(content)} bytes instead of {size}; {remedy()}")
    if check:
        check_md5(path, content, MD5[path.name.removesuffix(".gz")])
    # bytearray: torch warns about memory that must not be written.
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=len(header)).view(shape)
