"""CIFAR's files, whole, broken and real. Hostile ones: test_unpickle.py."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import data
from data import cifar
from lsoftmax.errors import UserError

from .conftest import cifar_batch

FOLDER = cifar.CIFAR10.folder


def load(root: Path, **options) -> data.Splits:
    return data.load("cifar10", root, download=False, **options)


def edit(root: Path, name: str, **changes) -> None:
    path = root / FOLDER / name
    batch = pickle.loads(path.read_bytes(), encoding="bytes")
    batch.update({key.encode(): value for key, value in changes.items()})
    path.write_bytes(pickle.dumps(batch, protocol=2))


def test_batches_follow_one_another(tiny_cifar10: Path) -> None:
    splits = load(tiny_cifar10)
    rows = [pickle.loads((tiny_cifar10 / FOLDER / name).read_bytes())[b"data"] for name in cifar.CIFAR10.train]
    assert np.array_equal(splits.train.images.flatten(1), np.concatenate(rows))
    assert splits.train.labels.tolist() == [row % 10 for row in range(20)] * 5
    assert splits.test.image_shape == (3, 32, 32) and len(splits.test) == 20
    assert splits.test.class_names[3] == "class 3"


def test_a_row_is_a_red_a_green_and_a_blue_plane(tiny_cifar10: Path) -> None:
    row = np.repeat(np.array([10, 20, 30], dtype=np.uint8), 1024)
    edit(tiny_cifar10, "test_batch", data=np.tile(row, (20, 1)))
    images = load(tiny_cifar10, check_integrity=False).test.images
    assert images[:, :, 0, 0].unique(dim=0).tolist() == [[10, 20, 30]]
    assert torch.equal(images.amax((2, 3)), images.amin((2, 3)))


def test_cifar10_plus_is_the_same_data(tiny_cifar10: Path) -> None:
    assert data.load("cifar10+", tiny_cifar10, download=False).sha256() == load(tiny_cifar10).sha256()


def test_cifar100_is_labelled_by_its_fine_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = dataclasses.replace(cifar.CIFAR100, train_images=100, test_images=100)
    monkeypatch.setattr(cifar, "CIFAR100", layout)
    batch = cifar_batch(100, key=b"fine_labels", num_classes=100) | {b"coarse_labels": [0] * 100}
    names = {
        f"{kind}_label_names".encode(): [f"{kind} {n}".encode() for n in range(100)] for kind in ("coarse", "fine")
    }
    (tmp_path / layout.folder).mkdir()
    for name, content in (("train", batch), ("test", batch), ("meta", names)):
        (tmp_path / layout.folder / name).write_bytes(pickle.dumps(content, protocol=2))
    splits = data.load("cifar100", tmp_path, download=False, check_integrity=False)
    assert splits.train.labels.tolist() == splits.test.labels.tolist() == list(range(100))
    assert splits.train.class_names[99] == "fine 99"


@pytest.mark.parametrize("part", [0.0, 0.0001, 0.01, 0.3, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("name", ["data_batch_3", "batches.meta"])
def test_files_truncated_anywhere_are_refused(tiny_cifar10: Path, part: float, check: bool, name: str) -> None:
    path = tiny_cifar10 / FOLDER / name
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(UserError, match=name):
        load(tiny_cifar10, check_integrity=check)


def test_other_content_is_refused_with_both_remedies(tiny_cifar10: Path) -> None:
    edit(tiny_cifar10, "data_batch_2", labels=[0] * 20)
    with pytest.raises(UserError, match="data_batch_2.*download.*dataset.check_integrity=false"):
        load(tiny_cifar10)
    assert load(tiny_cifar10, check_integrity=False).train.labels[20:40].eq(0).all()


@pytest.mark.parametrize("label", [-1, 10, 2**70])
def test_a_label_out_of_range_is_refused(tiny_cifar10: Path, label: int) -> None:
    edit(tiny_cifar10, "test_batch", labels=[0] * 19 + [label])
    with pytest.raises(UserError, match=f"test_batch: label {label} is outside 0 .. 9"):
        load(tiny_cifar10, check_integrity=False)


@pytest.mark.parametrize("labels", [[0] * 19, [0] * 21, [0.0] * 20, [[0]] * 20, None, 7, b"0" * 20, [True] * 20])
def test_labels_that_are_no_list_of_numbers_are_refused(tiny_cifar10: Path, labels: object) -> None:
    edit(tiny_cifar10, "test_batch", labels=labels)
    with pytest.raises(UserError, match="test_batch: no 20 labels"):
        load(tiny_cifar10, check_integrity=False)


@pytest.mark.parametrize("shape", [(19, 3072), (20, 3071), (20, 3, 32, 32), (20 * 3072,)])
def test_images_of_another_shape_are_refused(tiny_cifar10: Path, shape: tuple[int, ...]) -> None:
    edit(tiny_cifar10, "test_batch", data=np.zeros(shape, dtype=np.uint8))
    with pytest.raises(UserError, match="test_batch: no array of 20 rows"):
        load(tiny_cifar10, check_integrity=False)


def test_images_of_another_type_are_refused(tiny_cifar10: Path) -> None:
    edit(tiny_cifar10, "test_batch", data=np.zeros((20, 3072), dtype=np.int8))
    with pytest.raises(UserError, match="array of .*i1.* instead of bytes"):
        load(tiny_cifar10, check_integrity=False)


def test_missing_class_names_are_refused(tiny_cifar10: Path) -> None:
    edit(tiny_cifar10, "batches.meta", label_names=[b"one"])
    with pytest.raises(UserError, match="batches.meta: no 10 class names"):
        load(tiny_cifar10, check_integrity=False)


def test_a_huge_file_is_refused_unread(tiny_cifar10: Path) -> None:
    with (tiny_cifar10 / FOLDER / "test_batch").open("r+b") as file:
        file.truncate(10**12)  # a hole: takes no disk
    with pytest.raises(UserError, match="test_batch: longer than"):
        load(tiny_cifar10, check_integrity=False)


def test_a_file_of_more_opcodes_than_its_images_need_is_refused(tiny_cifar10: Path) -> None:
    path = tiny_cifar10 / FOLDER / "test_batch"
    path.write_bytes(b"N0" * 6_000 + path.read_bytes())  # None on the stack and off it again
    with pytest.raises(UserError, match="test_batch: .*longer than such data need"):
        load(tiny_cifar10, check_integrity=False)


def test_the_first_missing_file_is_named(tiny_cifar10: Path) -> None:
    (tiny_cifar10 / FOLDER / "data_batch_4").unlink()
    with pytest.raises(UserError, match="data_batch_4 is missing: .*data_download=true.*data_root=.*dataset=mnist5k"):
        load(tiny_cifar10)


def test_the_real_cifar10_is_the_published_one(real_root: Path) -> None:
    splits = load(real_root)
    assert splits.train.images.shape == (50_000, 3, 32, 32) and splits.test.images.shape == (10_000, 3, 32, 32)
    assert splits.train.labels.bincount().tolist() == [5_000] * 10
    assert splits.train.class_names[:2] == ("airplane", "automobile")
    assert splits.train.labels[:5].tolist() == [6, 9, 9, 4, 1]  # frog, truck, truck, deer, automobile


def test_the_real_cifar100_in_another_order_needs_consent(real_root: Path) -> None:
    splits = data.load("cifar100", real_root, download=False, check_integrity=False)
    assert splits.train.num_classes == 100 and splits.train.class_names[:2] == ("apple", "aquarium_fish")
    assert splits.train.labels.bincount().tolist() == [500] * 100
    assert splits.test.labels.bincount().tolist() == [100] * 100
