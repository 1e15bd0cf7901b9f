"""Random images that a network can learn, in the shapes of the real sets: for tests, benches and a first look."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lsoftmax.errors import UserError

from .mixing import generator_seed, key_of
from .request import Request
from .sets import ImageSet
from .split import end_of_classes

TRAIN_IMAGES, TEST_IMAGES = 2_000, 500
CONTRAST, NOISE = 40.0, 40.0  # grey levels, standard deviations of pattern and noise
CHUNK = 256  # images in floats at a time


@dataclass(frozen=True)
class Kind:
    """Shape and class count of the set that is imitated."""

    shape: tuple[int, int, int]  # (C, H, W)
    num_classes: int


KINDS = {
    "mnist": Kind((1, 28, 28), 10),
    "cifar10": Kind((3, 32, 32), 10),
    "cifar100": Kind((3, 32, 32), 100),
    "face": Kind((3, 112, 96), 100),
}


def kind_like(dataset: str) -> Kind | None:
    """The one whose images have the shape of this data set's; None of a set that is not known here."""
    shapes = {"mnist5k": "mnist", "cifar10+": "cifar10", "webface": "face", "lfw_dev": "face"}
    return KINDS.get(shapes.get(dataset, dataset))


def make(request: Request) -> tuple[ImageSet, ImageSet]:
    """(training images, test images): a smooth pattern per class, under noise. The same ones at every call.

    As many training images as are asked for, and the validation images on top.
    """
    if request.like not in KINDS:
        raise UserError(f"dataset.like={request.like}: nothing to imitate; there are {', '.join(KINDS)}")
    kind = KINDS[request.like]
    num_classes = kind.num_classes if request.classes is None else request.classes
    end = end_of_classes(num_classes, request.first_class, kind.num_classes, f"images like {request.like} have")

    train_count = TRAIN_IMAGES if request.train_images is None else request.train_images + request.validation
    test_count = TEST_IMAGES if request.test_images is None else request.test_images
    patterns = _patterns(request.like, kind)[request.first_class : end]
    return _draw(patterns, train_count, purpose="train"), _draw(patterns, test_count, purpose="test")


def _patterns(like: str, kind: Kind) -> Tensor:
    """(classes, C, H, W) float, mean 0 and standard deviation 1: 4 x 4 random numbers, interpolated."""
    channels, height, width = kind.shape
    coarse = torch.randn(kind.num_classes, channels, 4, 4, generator=_generator(f"synthetic {like} patterns"))
    smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    return (smooth - smooth.mean()) / smooth.std()


def _draw(patterns: Tensor, count: int, *, purpose: str) -> ImageSet:
    generator = _generator(f"synthetic {purpose}")
    labels = torch.arange(count) % len(patterns)
    images = torch.empty((count, *patterns.shape[1:]), dtype=torch.uint8)
    for start in range(0, count, CHUNK):
        pattern = patterns[labels[start : start + CHUNK]]
        noise = torch.randn(pattern.shape, generator=generator)
        images[start : start + CHUNK] = (128 + CONTRAST * pattern + NOISE * noise).round().clamp(0, 255)
    return ImageSet(images, labels, tuple(f"pattern {label}" for label in range(len(patterns))))


def _generator(purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(generator_seed(key_of(purpose), 0))
