"""Synthetic images: shapes, sizes, the same every time, learnable."""

import pytest
import torch

import data
from data.synthetic import KINDS, kind_like
from lsoftmax.errors import UserError


def load(**options) -> data.Splits:
    return data.load("synthetic", "/nonexistent", download=False, **options)


@pytest.mark.parametrize(
    ("like", "shape", "classes"),
    [
        ("mnist", (1, 28, 28), 10),
        ("cifar10", (3, 32, 32), 10),
        ("cifar100", (3, 32, 32), 100),
        ("face", (3, 112, 96), 100),
    ],
)
def test_shape_and_classes_are_those_of_the_real_set(like: str, shape: tuple[int, int, int], classes: int) -> None:
    splits = load(like=like, train_images=200, test_images=100)
    assert splits.train.image_shape == splits.test.image_shape == shape
    assert splits.train.num_classes == classes
    assert (len(splits.train), len(splits.test)) == (200, 100)


def test_default_sizes_are_modest() -> None:
    splits = load()
    assert (len(splits.train), len(splits.test)) == (2_000, 500)


def test_images_are_the_same_every_time() -> None:
    torch.manual_seed(1)
    first = load(train_images=100).sha256()
    torch.manual_seed(2)
    assert load(train_images=100).sha256() == first


def test_train_images_come_on_top_of_validation_images() -> None:
    splits = load(train_images=100, validation=50)
    assert splits.val is not None and (len(splits.train), len(splits.val)) == (100, 50)


def test_training_and_test_images_differ() -> None:
    splits = load(train_images=100, test_images=100)
    assert len(torch.cat([splits.train.images, splits.test.images]).flatten(1).unique(dim=0)) == 200


@pytest.mark.parametrize("like", ["mnist", "cifar10", "cifar100"])
def test_the_nearest_class_mean_recognises_test_images(like: str) -> None:
    splits = load(like=like)
    train, test = splits.train.images.flatten(1).float(), splits.test.images.flatten(1).float()
    means = torch.stack([train[splits.train.labels == label].mean(0) for label in range(splits.train.num_classes)])
    assert (torch.cdist(test, means).argmin(1) == splits.test.labels).float().mean() > 0.9


def test_an_unknown_likeness_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="dataset.like=svhn: .*mnist, cifar10, cifar100, face"):
        load(like="svhn")


def test_more_classes_than_there_are_patterns_are_refused() -> None:
    with pytest.raises(UserError, match="dataset.classes=11: .*10 classes"):
        load(classes=11)


@pytest.mark.parametrize(
    ("dataset", "like"),
    [("mnist5k", "mnist"), ("cifar10+", "cifar10"), ("cifar100", "cifar100"), ("webface", "face"), ("lfw_dev", "face")],
)
def test_the_shape_of_a_real_sets_images_is_known(dataset: str, like: str) -> None:
    assert kind_like(dataset) is KINDS[like]
