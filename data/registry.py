"""The data sets by name, and the way from a name to training, validation and test images."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from lsoftmax.errors import UserError

from . import cifar, mnist, mnist5k, synthetic
from .faces import lfw_dev, webface
from .request import Request
from .sets import ImageSet, Splits
from .split import take_balanced, take_classes

Reader = Callable[[Request], tuple[ImageSet, ImageSet]]  # -> all training images, all test images

DATASETS: dict[str, Reader] = {
    "mnist5k": mnist5k.read,
    "mnist": mnist.read,
    "cifar10": cifar.read_cifar10,
    "cifar10+": cifar.read_cifar10,  # the same images; that they are augmented is said in configs/dataset/cifar10+.yaml
    "cifar100": cifar.read_cifar100,
    "synthetic": synthetic.make,
}
# Sets of people: what is set apart are people, and images of the others.
FACES: dict[str, Callable[[Request], Splits]] = {"webface": webface.read, "lfw_dev": lfw_dev.read}


def load(
    name: str,
    root: str | Path,
    *,
    download: bool = True,
    check_integrity: bool = True,
    validation: int = 0,
    train_images: int | None = None,
    train_part: int = 0,
    classes: int | None = None,
    first_class: int = 0,
    like: str = "cifar10",
    test_images: int | None = None,
    folder: str | None = None,
    min_images: int = 2,
    verify: Sequence[str] = (),
) -> Splits:
    """Read a data set of `DATASETS` or `FACES`; its files lie under `root`, the images in torchvision's layouts.

    download: fetch what is missing; False never touches the network.
    check_integrity: accept only the files as published; False accepts others of the same format.
    validation: so many training images are set apart, the same number of each class; 0 trains on all. Of `webface` so
        many people, for verification.
    train_images: train on so many of the rest, the same number of each class.
    train_part: which so many: another number draws others from the same rest.
    classes: only so many classes, in every split; first_class: they are first_class .. first_class + classes - 1.
    like: shape of `synthetic`, ignored by the others.
    test_images: size of the test of `synthetic`, `webface` and `lfw_dev`, ignored by the others.
    folder: the pack of `webface`, in place of ROOT/webface. min_images: of a person of `lfw_dev`.
    verify: test pairs of `webface`, each NAME.bin or NAME_packed/ under `root`.

    Which images are set apart or left out depends on the data alone, never on the seed of a run.
    Raises UserError for an unknown name, missing or broken files, a failed download, impossible sizes.
    """
    if name not in {**DATASETS, **FACES}:
        raise UserError(f"dataset={name}: unknown data set; there are {', '.join({**DATASETS, **FACES})}")
    request = Request(
        root=Path(root).expanduser(),
        download=download,
        check_integrity=check_integrity,
        validation=validation,
        train_images=train_images,
        train_part=train_part,
        classes=classes,
        first_class=first_class,
        like=like,
        test_images=test_images,
        folder=folder,
        min_images=min_images,
        verify=tuple(verify),
    )
    _check_sizes(request)
    if name in FACES:
        return _reduced(FACES[name](request), request)
    train, test = DATASETS[name](request)
    if name == "synthetic":  # has made no other classes
        request = replace(request, classes=None)
    return _split(train, test, request)


def _check_sizes(request: Request) -> None:
    if request.validation < 0:
        raise UserError(f"dataset.validation={request.validation}: must be 0 or more")
    for key in ("train_images", "test_images"):
        size = getattr(request, key)
        if size is not None and size < 1:
            raise UserError(f"dataset.{key}={size}: must be at least 1")
    if request.classes is not None and request.classes < 2:
        raise UserError(f"dataset.classes={request.classes}: must be at least 2")
    if request.first_class < 0:
        raise UserError(f"dataset.first_class={request.first_class}: must be 0 or more")
    if request.first_class and request.classes is None:
        raise UserError(
            f"dataset.first_class={request.first_class}: give dataset.classes too, it is the first of so many"
        )


def _split(train: ImageSet, test: ImageSet, request: Request) -> Splits:
    if train.class_names != test.class_names:
        only = sorted(set(train.class_names) ^ set(test.class_names))
        differ = f"in one of them alone are {', '.join(only[:5])}" if only else "their order differs"
        raise UserError(f"the classes of training and test images differ: {differ}")
    if train.image_shape != test.image_shape:
        raise UserError(f"training images are {train.image_shape}, test images {test.image_shape}")
    if request.classes is not None:
        train, test = (take_classes(part, request.classes, request.first_class) for part in (train, test))

    val = None
    if request.validation:
        if request.validation >= len(train):
            raise UserError(
                f"dataset.validation={request.validation}: must be less than the {len(train)} training images"
            )
        val, train = take_balanced(train, request.validation, purpose="validation")

    return _reduced(Splits(train, val, test), request)


def _reduced(splits: Splits, request: Request) -> Splits:
    """With `train_images` of the training images, where so many are asked for."""
    train, count = splits.train, request.train_images
    if count is None:
        if request.train_part:
            raise UserError(
                f"dataset.train_part={request.train_part}: give dataset.train_images too, it is a part of so many"
            )
        return splits
    if count > len(train):
        raise UserError(f"dataset.train_images={count}: only {len(train)} training images are left")
    purpose = f"train_images {request.train_part}" if request.train_part else "train_images"
    taken = take_balanced(train, count, purpose=purpose)[0]
    without = train.num_classes - len(torch.unique(taken.labels))
    notes = (
        [f"dataset.train_images={count}: {without:,} of the {train.num_classes:,} classes have none"] if without else []
    )
    return replace(splits, train=taken, notes=(*splits.notes, *notes))
