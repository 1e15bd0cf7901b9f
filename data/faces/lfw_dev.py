"""LFW's View 1, "unrestricted, no outside data": people to train on, and pairs of others to verify.

ROOT/lfw holds images/NAME/NAME_0001.jpg and the official lists peopleDevTrain.txt, pairsDevTrain.txt, pairsDevTest.txt.
The 2,985 people of View 2 who are among the training people forbid to score such a network there.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lsoftmax.errors import UserError

from ..request import Request
from ..sets import ImageSet, PairSet, Splits
from ..split import take_classes
from .crop import Crop, Remarks
from .decode import ImageError
from .files import find_images
from .hold_out import take_test_images
from .pairs import Pairs, read_pairs

FOLDER = "lfw"
PEOPLE, TUNE, PAIRS = "peopleDevTrain.txt", "pairsDevTrain.txt", "pairsDevTest.txt"
OTHERS = "peopleDevTest.txt"
CROP = Crop(size=(112, 96), align="none")  # the images are taken as they are, as scripts/verify.py does


def read(request: Request) -> Splits:
    """The people of peopleDevTrain with `min_images` or more: 1,184 of 4,038 with two, who have 6,671 of 9,525 images.

    test_images: so many of their images, at most one a person, are held out for test_error, which is therefore an
        error of closed-set identification; None takes one of every tenth person.
    The threshold is chosen on pairsDevTrain and the accuracy measured on pairsDevTest.
    """
    if request.validation:
        raise UserError(f"dataset.validation={request.validation}: must be 0, lfw_dev has its own pairs to choose by")
    folder = request.root / FOLDER
    names, labels, classes = _people(folder / PEOPLE, request.min_images)
    noticed, of_pairs = Remarks(), Remarks()
    people = ImageSet(_decoded(folder / "images", names, noticed), labels, classes)
    if request.classes is not None:
        people = take_classes(people, request.classes, request.first_class)
    train, test = take_test_images(people, request.test_images)
    pairs = _verification(folder, of_pairs)
    said = ((Path(PEOPLE).stem, noticed), (pairs.name, of_pairs))
    notes = tuple(f"{name}: {note}" for name, remarks in said for note in remarks.said())
    return Splits(train, None, test, verification=(pairs,), notes=notes, preparation=CROP.describe())


def read_others(root: Path) -> tuple[ImageSet, tuple[str, ...]]:
    """All images of the people of View 1's test, none of whom is trained on, 3,708 of 1,711; what was noticed."""
    names, labels, people = _people(root / FOLDER / OTHERS, 1)
    noticed = Remarks()
    images = ImageSet(_decoded(root / FOLDER / "images", names, noticed), labels, people)
    return images, tuple(f"{Path(OTHERS).stem}: {note}" for note in noticed.said())


def _people(path: Path, min_images: int) -> tuple[list[str], torch.Tensor, tuple[str, ...]]:
    """Names and labels of the images, names of the people, in the list's order."""
    counts = _read_list(path)
    kept = {name: count for name, count in counts.items() if count >= min_images}
    if len(kept) < 2:
        raise UserError(f"dataset.min_images={min_images}: {len(kept)} of the {len(counts):,} people have so many")
    names = [f"{name}/{name}_{number:04d}" for name, count in kept.items() for number in range(1, count + 1)]
    labels = torch.arange(len(kept)).repeat_interleave(torch.tensor(list(kept.values())))
    return names, labels, tuple(kept)


def _read_list(path: Path) -> dict[str, int]:
    """Person -> number of images. The file's first line says how many people there are."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); dataset=lfw_dev needs LFW's images in {path.parent}/images "
            "and its lists beside them"
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    counts: dict[str, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or not re.fullmatch("[0-9]{1,4}", fields[1]) or not int(fields[1]) or fields[0] in counts:
            raise UserError(f"{path}, line {number}: cannot read {line[:80]!r}; wanted a name and its number of images")
        counts[fields[0]] = int(fields[1])
    if lines[0].strip() != str(len(counts)):
        raise UserError(f"{path}: its first line says {lines[0].strip()[:20]!r} people, there are {len(counts):,}")
    return counts


def _verification(folder: Path, remarks: Remarks) -> PairSet:
    pairs, tune = read_pairs(folder / PAIRS), read_pairs(folder / TUNE)
    names = list(dict.fromkeys(pairs.names() + tune.names()))
    row = dict(zip(names, range(len(names)), strict=True))

    def columns(of: Pairs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        left, right = (torch.tensor([row[name] for name in side]) for side in (of.left, of.right))
        return left, right, torch.from_numpy(of.same)

    images = _decoded(folder / "images", names, remarks)
    unlabelled = ImageSet(images, torch.zeros(len(images), dtype=torch.int64), ("unknown",))
    return PairSet(Path(PAIRS).stem, unlabelled, *columns(pairs), tune=columns(tune))


def _decoded(folder: Path, names: Sequence[str], remarks: Remarks) -> torch.Tensor:
    """(N, 3, 112, 96) uint8, RGB."""
    images = np.empty((len(names), 3, *CROP.size), dtype=np.uint8)
    for target, path in zip(images, find_images(folder, names), strict=True):
        try:
            target[:] = CROP(path.read_bytes(), remarks=remarks).transpose(2, 0, 1)
        except OSError as error:
            raise UserError(f"cannot read {path} ({error.strerror})") from error
        except ImageError as error:
            raise UserError(f"{path}: {error}") from error
    return torch.from_numpy(images)
