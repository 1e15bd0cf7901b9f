"""What a face network is judged on: people it has not seen, and images it has not seen of people it has.

Both are a function of the set alone, never of the seed of a run, and a smaller part lies inside a larger one.
"""

import numpy as np
import torch
from torch import Tensor

from lsoftmax.errors import UserError

from ..sets import ImageSet, PairSet
from ..split import ranks

HELD_OUT = "held_out"  # the name of the pairs of people held out; all others are for reporting
FOLDS = 10
TEST_SHARE = 10  # by default one of so many people gives an image for the test


def take_test_images(image_set: ImageSet, count: int | None) -> tuple[ImageSet, ImageSet]:
    """(training images, `count` others), at most one of a person, and only of people with another one to train on.

    By default an image of every tenth such person: the error on them is that of closed-set identification, and shows
    whether the network learns what it is trained on. How well it knows strangers, verification says.
    """
    labels = image_set.labels.numpy()
    sizes = np.bincount(labels, minlength=image_set.num_classes)
    able = int((sizes >= 2).sum())
    if count is None:
        count = -(-able // TEST_SHARE)
    if not 1 <= count <= able:
        raise UserError(
            f"dataset.test_images={count}: {able} people have two images, one to train on and one to test; "
            f"{'ask for fewer' if able else 'prepare the set with min_images=2'}"
        )
    people = _chosen(sizes >= 2, count, "people of the test")
    order = np.lexsort((ranks(len(labels), "images of the test"), labels))
    firsts = order[np.cumsum(sizes)[people] - sizes[people]]
    test = np.zeros(len(labels), dtype=bool)
    test[firsts] = True
    return image_set.subset(_where(~test)), image_set.subset(_where(test))


def take_people(image_set: ImageSet, count: int) -> tuple[ImageSet, ImageSet]:
    """(all other people, `count` people with at least two images); the labels of both count from 0."""
    labels = image_set.labels.numpy()
    sizes = np.bincount(labels, minlength=image_set.num_classes)
    able = int((sizes >= 2).sum())
    if not 2 * FOLDS <= count <= min(able, image_set.num_classes - 2):
        raise UserError(
            f"dataset.validation={count}: people held out must be {2 * FOLDS} or more (two in each of {FOLDS} folds), "
            f"have two images ({able} people do) and leave two people to train on"
        )
    held_out = np.zeros(image_set.num_classes, dtype=bool)
    held_out[_chosen(sizes >= 2, count, "people of the validation")] = True
    return _only(image_set, ~held_out), _only(image_set, held_out)


def pairs_of(people: ImageSet, name: str) -> PairSet:
    """Pairs of people who have two images or more: half of them of one person, in ten folds that share nobody.

    In an order drawn once, every image is paired with the next one of its person, and moreover with an image of the
    next person of the fold.
    """
    labels = people.labels.numpy()
    order = np.lexsort((ranks(len(labels), "pairs"), labels))
    of = labels[order]
    following = np.flatnonzero(of[1:] == of[:-1])
    left, right = order[following], order[following + 1]  # matched
    folds = labels[left] % FOLDS
    # The next person of the fold; behind the last comes the first. Of that person the last image, which is never on
    # the left: so no pair can come a second time, the other way round.
    lasts = order[np.searchsorted(of, np.arange(people.num_classes), side="right") - 1]
    other = labels[left] + FOLDS
    other = np.where(other < people.num_classes, other, folds)
    return PairSet(
        name,
        people,
        torch.from_numpy(np.concatenate([left, left])),
        torch.from_numpy(np.concatenate([right, lasts[other]])),
        torch.arange(2 * len(left)) < len(left),
        folds=torch.from_numpy(np.concatenate([folds, folds])),
    )


def _chosen(able: np.ndarray, count: int, purpose: str) -> np.ndarray:
    """(count,) of the people for whom `able` (C,) is true."""
    people = np.flatnonzero(able)
    return people[np.argsort(ranks(len(able), purpose)[people], kind="stable")[:count]]


def _only(image_set: ImageSet, kept: np.ndarray) -> ImageSet:
    """The people for whom `kept` (C,) is true, with labels 0, 1, ..."""
    part = image_set.subset(_where(kept[image_set.labels.numpy()]))
    new = torch.from_numpy(np.cumsum(kept) - 1)
    names = tuple(name for name, keep in zip(image_set.class_names, kept, strict=True) if keep)
    return part.relabelled(new[part.labels], names)


def _where(mask: np.ndarray) -> Tensor:
    return torch.from_numpy(np.flatnonzero(mask))
