"""CIFAR-10 and CIFAR-100 from their Python files (Krizhevsky 2009): 50,000 + 10,000 images of 3 x 32 x 32."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lsoftmax.errors import UserError, one_line

from .download import ensure_files
from .integrity import check_md5, existing, read_at_most, remedy
from .request import Request
from .sets import ImageSet
from .unpickle import load_dict

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """Where one of the two sets keeps what, as torchvision unpacks it."""

    torchvision_name: str
    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    train_images: int
    test_images: int
    label_key: str
    names_key: str
    num_classes: int
    md5: dict[str, str]  # of every file; its keys are the files


CIFAR10 = Layout(
    torchvision_name="CIFAR10",
    folder="cifar-10-batches-py",
    train=("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"),
    test="test_batch",
    meta="batches.meta",
    train_images=50_000,
    test_images=10_000,
    label_key="labels",
    names_key="label_names",
    num_classes=10,
    md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
        "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
)
CIFAR100 = Layout(
    torchvision_name="CIFAR100",
    folder="cifar-100-python",
    train=("train",),
    test="test",
    meta="meta",
    train_images=50_000,
    test_images=10_000,
    label_key="fine_labels",
    names_key="fine_label_names",
    num_classes=100,
    md5={
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "meta": "7973b15100ade9c7d40fb424638fde48",
    },
)


def read_cifar10(request: Request) -> tuple[ImageSet, ImageSet]:
    """(training images, test images), each (N, 3, 32, 32), of 10 classes."""
    return _read(CIFAR10, request)


def read_cifar100(request: Request) -> tuple[ImageSet, ImageSet]:
    """(training images, test images), each (N, 3, 32, 32), of 100 classes."""
    return _read(CIFAR100, request)


def _read(layout: Layout, request: Request) -> tuple[ImageSet, ImageSet]:
    files = [f"{layout.folder}/{name}" for name in layout.md5]
    ensure_files(layout.torchvision_name, request.root, files, download=request.download)
    folder, check = request.root / layout.folder, request.check_integrity

    names = _read_names(layout, folder, check=check)
    rows = layout.train_images // len(layout.train)
    batches = [_read_batch(layout, folder / file, rows, check=check) for file in layout.train]
    images, labels = zip(*batches, strict=True)
    test = _read_batch(layout, folder / layout.test, layout.test_images, check=check)
    return ImageSet(torch.cat(images), torch.cat(labels), names), ImageSet(*test, names)


def _read_names(layout: Layout, folder: Path, *, check: bool) -> tuple[str, ...]:
    path = folder / layout.meta
    names = _load(path, layout.md5[layout.meta], entries=1_000, size=65_536, check=check).get(layout.names_key)
    if not isinstance(names, list) or len(names) != layout.num_classes:
        raise UserError(f"{path}: no {layout.num_classes} class names under {layout.names_key!r}; {remedy()}")
    return tuple(name.decode("latin1") if isinstance(name, bytes) else str(name) for name in names)


def _read_batch(layout: Layout, path: Path, rows: int, *, check: bool) -> tuple[Tensor, Tensor]:
    """(rows, 3, 32, 32) uint8 and (rows,) int64 from a file that holds a flat row per image: red, green, blue plane."""
    # Written anew by Python 3, pixels above 127 take two bytes; names and labels take less than 512.
    batch = _load(path, layout.md5[path.name], entries=rows, size=rows * (2 * PIXELS + 512), check=check)
    pixels, labels = batch.get("data"), batch.get(layout.label_key)
    if not isinstance(pixels, np.ndarray) or pixels.shape != (rows, PIXELS):
        raise UserError(f"{path}: no array of {rows} rows of {PIXELS} bytes under 'data'; {remedy()}")
    if not isinstance(labels, list) or len(labels) != rows or not all(type(label) is int for label in labels):
        raise UserError(f"{path}: no {rows} labels under {layout.label_key!r}; {remedy()}")
    if min(labels) < 0 or max(labels) >= layout.num_classes:
        outside = next(label for label in labels if not 0 <= label < layout.num_classes)
        raise UserError(f"{path}: label {outside} is outside 0 .. {layout.num_classes - 1}; {remedy()}")
    # .copy(): torch warns about memory that must not be written.
    return torch.from_numpy(pixels.copy()).view(rows, *SHAPE), torch.tensor(labels)


def _load(path: Path, md5: str, *, entries: int, size: int, check: bool) -> dict[str, Any]:
    path = existing(path) or path
    content = read_at_most(path, size)
    if check:
        check_md5(path, content, md5)
    try:
        return load_dict(content, max_opcodes=16 * entries + 10_000)
    except Exception as error:  # a damaged pickle raises whatever its first wrong byte leads to
        reason = one_line(error)
        raise UserError(f"{path}: not a CIFAR file, or a damaged one ({reason}); {remedy()}") from error
