"""MNIST's idx files, whole, packed, broken and real."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

import data
from data import mnist
from lsoftmax.errors import UserError

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def rewrite(root: Path, name: str, change) -> None:
    path = root / mnist.FOLDER / name
    path.write_bytes(change(path.read_bytes()))


def load(root: Path, **options) -> data.Splits:
    return data.load("mnist", root, download=False, **options)


def test_pixels_and_labels_are_those_of_the_files(tiny_mnist: Path) -> None:
    raw = (tiny_mnist / mnist.FOLDER / IMAGES).read_bytes()[16:]
    train = load(tiny_mnist).train
    assert train.images.shape == (40, 1, 28, 28) and train.images.dtype == torch.uint8
    assert train.images.numpy().tobytes() == raw
    assert train.labels.tolist() == [i % 10 for i in range(40)]


def test_a_gz_alone_is_read_like_the_file(tiny_mnist: Path) -> None:
    expected = load(tiny_mnist).sha256()
    for path in list((tiny_mnist / mnist.FOLDER).iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert load(tiny_mnist).sha256() == expected


@pytest.mark.parametrize("length", [0, 1, 3, 4, 7, 8, 15, 16, 17, 800, 16 + 40 * 784 - 1])
@pytest.mark.parametrize("check", [True, False])
def test_images_truncated_anywhere_are_refused(tiny_mnist: Path, length: int, check: bool) -> None:
    rewrite(tiny_mnist, IMAGES, lambda content: content[:length])
    with pytest.raises(UserError, match=f"{IMAGES}: truncated, {length} bytes"):
        load(tiny_mnist, check_integrity=check)


@pytest.mark.parametrize("length", [0, 5, 18, 40, 100])
def test_a_truncated_gz_is_refused(tiny_mnist: Path, length: int) -> None:
    path = tiny_mnist / mnist.FOLDER / IMAGES
    path.with_name(IMAGES + ".gz").write_bytes(gzip.compress(path.read_bytes())[:length])
    path.unlink()
    with pytest.raises(UserError, match=f"{IMAGES}.gz"):
        load(tiny_mnist, check_integrity=False)


def test_what_is_no_gz_is_refused(tiny_mnist: Path) -> None:
    path = tiny_mnist / mnist.FOLDER / IMAGES
    path.rename(path.with_name(IMAGES + ".gz"))
    with pytest.raises(UserError, match="not a whole gzip file"):
        load(tiny_mnist)


def test_a_longer_file_is_refused(tiny_mnist: Path) -> None:
    rewrite(tiny_mnist, IMAGES, lambda content: content + b"\0")
    with pytest.raises(UserError, match="longer than"):
        load(tiny_mnist, check_integrity=False)


def test_a_gz_that_unpacks_to_gigabytes_is_not_unpacked(tiny_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_mnist / mnist.FOLDER / IMAGES
    path.unlink()
    path.with_name(IMAGES + ".gz").write_bytes(gzip.compress(bytes(10**7)))
    taken = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: taken.append(size) or read(self, size))
    with pytest.raises(UserError, match="longer than"):
        load(tiny_mnist, check_integrity=False)
    assert taken == [16 + 40 * 784 + 1]


@pytest.mark.parametrize("magic", [b"\0\0\x08\x01", b"\0\0\x0d\x03", b"\x1f\x8b\x08\x00", b"<!DO"])
def test_another_magic_is_refused(tiny_mnist: Path, magic: bytes) -> None:
    rewrite(tiny_mnist, IMAGES, lambda content: magic + content[4:])
    with pytest.raises(UserError, match="not an idx file"):
        load(tiny_mnist, check_integrity=False)


@pytest.mark.parametrize("position", [7, 11, 15])
def test_another_count_or_size_is_refused(tiny_mnist: Path, position: int) -> None:
    rewrite(tiny_mnist, IMAGES, lambda content: content[:position] + b"\x1b" + content[position + 1 :])
    with pytest.raises(UserError, match=r"holds an array of .* instead of \(40, 28, 28\)"):
        load(tiny_mnist, check_integrity=False)


def test_a_label_beyond_9_is_refused(tiny_mnist: Path) -> None:
    rewrite(tiny_mnist, LABELS, lambda content: content[:-1] + b"\x0a")
    with pytest.raises(UserError, match=f"{LABELS}: label 10 is outside"):
        load(tiny_mnist, check_integrity=False)


def test_other_pixels_are_refused_with_both_remedies(tiny_mnist: Path) -> None:
    rewrite(tiny_mnist, IMAGES, lambda content: content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=f"{IMAGES}.*download.*dataset.check_integrity=false"):
        load(tiny_mnist)


def test_other_pixels_are_accepted_without_the_check(tiny_mnist: Path) -> None:
    before = load(tiny_mnist).sha256()
    rewrite(tiny_mnist, IMAGES, lambda content: content[:-1] + bytes([content[-1] ^ 1]))
    assert load(tiny_mnist, check_integrity=False).sha256() != before


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(tmp_path / mnist.FOLDER / IMAGES), "data_download=true", "data_root=", "dataset=mnist5k"):
        assert part in message


def test_a_folder_in_the_place_of_a_file_is_refused(tiny_mnist: Path) -> None:
    path = tiny_mnist / mnist.FOLDER / IMAGES
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        load(tiny_mnist)


def test_the_real_mnist_is_the_published_one(real_root: Path) -> None:
    splits = load(real_root)
    assert (len(splits.train), len(splits.test)) == (60_000, 10_000)
    assert np.bincount(splits.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert splits.sha256() == "31832aa75592396ddffe843186323fb4e5355dd78ed106923e22fac8ae60bcb4"
