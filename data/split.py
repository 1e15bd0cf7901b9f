"""Fixed, class-balanced parts of an image set.

A part holds the same number of images of every class. Which ones, says a hash of their positions in the set:
no random state, no seed, the same in every version of every library, and a smaller part lies inside a larger one.
"""

import numpy as np
import torch
from torch import Tensor

from lsoftmax.errors import UserError

from .mixing import key_of, splitmix64
from .sets import ImageSet


def end_of_classes(classes: int, first: int, available: int, where: str) -> int:
    """first + classes. UserError if there are only `available`; where: "the data set has"."""
    if first + classes > available:
        asked = f"dataset.classes={classes}" + (f" from dataset.first_class={first} on" if first else "")
        raise UserError(f"{asked}: {where} {available} classes")
    return first + classes


def take_classes(image_set: ImageSet, classes: int, first: int) -> ImageSet:
    """Only the images with labels first .. first + classes - 1, which become 0 .. classes - 1."""
    end = end_of_classes(classes, first, image_set.num_classes, "the data set has")
    kept = image_set.subset(torch.nonzero((image_set.labels >= first) & (image_set.labels < end)).flatten())
    return kept.relabelled(kept.labels - first, image_set.class_names[first:end])


def take_balanced(image_set: ImageSet, count: int, *, purpose: str) -> tuple[ImageSet, ImageSet]:
    """(`count` images, the others), each in the original order; another purpose takes other images."""
    taken = balanced_mask(image_set.labels, image_set.num_classes, count, purpose=purpose)
    return image_set.subset(torch.nonzero(taken).flatten()), image_set.subset(torch.nonzero(~taken).flatten())


def balanced_mask(labels: Tensor, num_classes: int, count: int, *, purpose: str) -> Tensor:
    """(N,) bool with `count` <= N true entries, as evenly distributed over the classes as their sizes allow."""
    array = labels.numpy()
    quotas = balanced_quotas(np.bincount(array, minlength=num_classes).tolist(), count)
    # Class by class, and by rank within a class: one sort, as there may be a million classes.
    order = np.lexsort((ranks(len(array), purpose), array))
    sizes = np.bincount(array, minlength=num_classes)
    place = np.arange(len(array)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # within its class
    taken = np.zeros(len(array), dtype=bool)
    taken[order[place < np.repeat(quotas, sizes)]] = True
    return torch.from_numpy(taken)


def ranks(count: int, purpose: str) -> np.ndarray:
    """(count,) uint64 for the positions 0 .. count - 1, as good as random, and others for another purpose."""
    return splitmix64(splitmix64(np.arange(count, dtype=np.uint64)) ^ np.uint64(key_of(purpose)))


def balanced_quotas(sizes: list[int], count: int) -> list[int]:
    """How many to take of classes of these sizes: equal, the first ones one more if `count` does not divide.

    A class too small for its share gives all it has, and the others share the rest.
    """
    assert 0 <= count <= sum(sizes)
    quotas = [0] * len(sizes)
    remaining = count
    while remaining:
        open_classes = [label for label, size in enumerate(sizes) if quotas[label] < size]
        share, extra = divmod(remaining, len(open_classes))
        for position, label in enumerate(open_classes):
            # The odd ones last: they would go to the first classes once more whenever a class falls short of its share.
            added = min(share, sizes[label] - quotas[label]) if share else int(position < extra)
            quotas[label] += added
            remaining -= added
    return quotas
