"""What is drawn stays what it was: records of runs are compared, and runs go on, across versions of this code."""

import hashlib
from pathlib import Path

import pytest
import torch

import data
from data import DeviceLoader, ImageSet, PairSet
from data.augment import Augmentation
from data.faces.hold_out import pairs_of, take_people, take_test_images

LABELS = torch.arange(200) % 50


@pytest.fixture
def people() -> ImageSet:
    """200 images of 50 people whose first pixel says which image it is."""
    images = torch.zeros(200, 1, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(200)
    return ImageSet(images, LABELS, tuple(f"p{label}" for label in range(50)))


def digest(*tensors: torch.Tensor) -> str:
    return hashlib.sha256(b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors)).hexdigest()[:16]


def images_of(part: ImageSet) -> list[int]:
    return part.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({"train_images": 100}, "3af3c4d824bbdbb8"),
        ({"train_images": 100, "train_part": 3}, "4d78323bd04776ff"),
        ({"train_images": 100, "validation": 500}, "5c122167ec2c9a81"),
    ],
)
def test_the_training_and_validation_images(options: dict[str, int], known: str, tmp_path: Path) -> None:
    assert data.load("mnist5k", tmp_path, **options).sha256()[:16] == known


@pytest.mark.parametrize(
    ("kind", "known"),
    [("none", "901ad4bac82be424"), ("mirror", "6ce0fbe0b88f6371"), ("crop_mirror", "5ea081b042e8ab86")],
)
def test_the_batches(kind: Augmentation, known: str) -> None:
    # By torch's own generator: a torch that draws otherwise fails here, and lets no run go on to the same bits.
    pixels = (torch.arange(40 * 30) % 256).to(torch.uint8).view(40, 1, 5, 6)
    images = ImageSet(pixels, torch.arange(40), tuple(map(str, range(40))))
    loader = DeviceLoader(images, 16, seed=3, augment=kind, mean=torch.zeros(1, 1, 1))
    assert digest(*(part for step in (0, 1, 2, 1000) for part in loader.batch(step))) == known


def test_the_images_of_the_test(people: ImageSet) -> None:
    assert images_of(take_test_images(people, 5)[1]) == [36, 40, 66, 158, 163]


def test_the_people_held_out(people: ImageSet) -> None:
    known = "p4 p6 p9 p10 p13 p15 p16 p17 p19 p20 p22 p27 p30 p31 p32 p38 p40 p42 p43 p45"
    assert " ".join(take_people(people, 20)[1].class_names) == known


def test_the_pairs(people: ImageSet) -> None:
    pairs: PairSet = pairs_of(people, "any")
    assert digest(pairs.left, pairs.right, pairs.same) == "1d484ab475a03bd5"
