"""Small files in the formats of the real ones, and the real ones where LSOFTMAX_DATA points at them."""

import dataclasses
import hashlib
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from data import cifar, mnist


@pytest.fixture
def real_root() -> Path:
    root = os.environ.get("LSOFTMAX_DATA")
    if not root:
        pytest.skip("needs the real files: set LSOFTMAX_DATA to a folder that holds them")
    return Path(root)


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def tiny_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a whole MNIST of 40 + 20 images, which `data.mnist` takes for the published one."""
    random = np.random.default_rng(0)
    monkeypatch.setattr(mnist, "TRAIN_IMAGES", 40)
    monkeypatch.setattr(mnist, "TEST_IMAGES", 20)
    folder = tmp_path / mnist.FOLDER
    folder.mkdir(parents=True)
    for part, count in (("train", 40), ("t10k", 20)):
        contents = {
            f"{part}-images-idx3-ubyte": idx_bytes(random.integers(0, 256, (count, 28, 28))),
            f"{part}-labels-idx1-ubyte": idx_bytes(np.arange(count) % 10),
        }
        for name, content in contents.items():
            (folder / name).write_bytes(content)
            monkeypatch.setitem(mnist.MD5, name, hashlib.md5(content).hexdigest())
    return tmp_path


def cifar_batch(rows: int, *, seed: int = 0, key: bytes = b"labels", num_classes: int = 10) -> dict[bytes, object]:
    pixels = np.random.default_rng(seed).integers(0, 256, (rows, 3072), dtype=np.uint8)
    names = [f"image_{row}.png".encode() for row in range(rows)]
    return {b"data": pixels, key: [row % num_classes for row in range(rows)], b"filenames": names}


@pytest.fixture
def tiny_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a whole CIFAR-10 of 5 x 20 + 20 images, which `data.cifar` takes for the published one."""
    layout = cifar.CIFAR10
    folder = tmp_path / layout.folder
    folder.mkdir()
    md5 = {}
    for seed, name in enumerate((*layout.train, layout.test)):
        content = pickle.dumps(cifar_batch(20, seed=seed), protocol=2)
        (folder / name).write_bytes(content)
        md5[name] = hashlib.md5(content).hexdigest()
    content = pickle.dumps({b"label_names": [f"class {label}".encode() for label in range(10)]}, protocol=2)
    (folder / layout.meta).write_bytes(content)
    md5[layout.meta] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(
        cifar, "CIFAR10", dataclasses.replace(layout, train_images=100, test_images=20, md5=md5), raising=True
    )
    return tmp_path
