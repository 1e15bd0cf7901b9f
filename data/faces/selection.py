"""Who and which images of a catalogue go into a pack."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from lsoftmax.errors import UserError

from .catalogue import Catalogue
from .overlap import PRESUMED_CLASSES, PRESUMED_LABELS, excluded, unranked

CASIA_CLASSES, ID_DIGITS = 10_575, 7


@dataclass
class Selection:
    """Rows of the catalogue, in its order, and the people they show."""

    rows: np.ndarray  # (N,) int64
    labels: np.ndarray  # (N,) int64, into classes
    classes: list[str]
    left_out: list[tuple[str, str]] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)  # ids that were found and left out
    presumed: dict[str, int] = field(default_factory=dict)  # id -> the catalogue's label taken for it
    notes: list[str] = field(default_factory=list)


def select(
    catalogue: Catalogue,
    *,
    exclude: str = "union19",
    min_images: int = 1,
    by_rank: bool = False,
    landmarks: bool = False,
) -> Selection:
    """Leave out people of `exclude`, then people with fewer than `min_images` images.

    exclude: names of built-in lists or a file, see `overlap.excluded`.
    by_rank: where labels have no ids, presume that they follow the sorted ids of CASIA-WebFace.
    landmarks: images without landmarks are left out.
    """
    selection = Selection(np.arange(len(catalogue)), catalogue.labels, list(catalogue.classes))
    out = _labels_to_exclude(catalogue, excluded(exclude), exclude, by_rank, selection)
    keep = ~np.isin(catalogue.labels, list(out))
    _note(selection, catalogue, ~keep, f"excluded (exclude={exclude})")
    if landmarks and catalogue.landmarks is not None:
        known = np.isfinite(catalogue.landmarks).all(axis=(1, 2))
        _note(selection, catalogue, keep & ~known, "no landmarks")
        keep &= known
    few = keep & ~large_enough(catalogue.labels, keep, min_images)
    _note(selection, catalogue, few, f"of a person with fewer than {min_images} images")
    keep &= ~few
    if not keep.any():
        raise UserError(f"{catalogue.path}: no image is left after exclude={exclude}, min_images={min_images}")
    selection.rows = np.flatnonzero(keep)
    selection.labels, selection.classes = relabel(catalogue.labels[keep], catalogue.classes)
    return selection


def large_enough(labels: np.ndarray, keep: np.ndarray, min_images: int) -> np.ndarray:
    """(N,) bool: whether the person of each row has so many kept rows."""
    counts = np.bincount(labels[keep], minlength=int(labels.max()) + 1)
    enough: np.ndarray = counts[labels] >= min_images
    return enough


def relabel(labels: np.ndarray, classes: list[str]) -> tuple[np.ndarray, list[str]]:
    """Labels 0 .. C - 1 in the same order, and the names of the classes that are left."""
    present, dense = np.unique(labels, return_inverse=True)
    return dense.astype(np.int64), [classes[label] for label in present.tolist()]


def _labels_to_exclude(
    catalogue: Catalogue, ids: Iterable[str], exclude: str, by_rank: bool, selection: Selection
) -> set[int]:
    ids = set(ids)
    if not ids:
        return set()
    found = {name: label for label, name in enumerate(catalogue.classes) if catalogue.has_ids and name in ids}
    if catalogue.has_ids and (found or not _are_labels(catalogue.classes)):
        if by_rank:
            selection.notes.append(f"exclude_by_rank=true has no effect: the classes of {catalogue.path} have ids")
    elif not by_rank:
        why = "the labels of {} have no ids; give list=train.lst, or"
        if catalogue.has_ids:
            why = f"the folders of {{}} ({catalogue.classes[0]}, ...) seem to be named by labels, not by ids; give"
        raise UserError(
            f"exclude={exclude}: {why.format(catalogue.path)} exclude=none, or exclude_by_rank=true to presume that "
            "they follow CASIA-WebFace's sorted ids"
        )
    elif len(catalogue.classes) != PRESUMED_CLASSES:
        raise UserError(
            f"exclude_by_rank=true is for {PRESUMED_CLASSES:,} classes, {catalogue.path} has {len(catalogue.classes):,}"
        )
    elif unknown := unranked(exclude):
        counts = ", ".join(f"{count} of {word}" for word, count in unknown.items())
        raise UserError(
            f"exclude={exclude}: exclude_by_rank=true knows no rank for some of these people ({counts}), they would "
            f"stay; give list=train.lst, or exclude= without {', '.join(unknown)}"
        )
    else:
        # Folders are sorted by their bytes: 10 before 9.
        order = sorted(range(len(catalogue.classes)), key=lambda label: int(catalogue.classes[label]))
        found = {name: order[rank] for name, rank in PRESUMED_LABELS.items() if name in ids}
        selection.presumed = found
    selection.excluded = sorted(found)
    return set(found.values())


def _are_labels(classes: list[str]) -> bool:
    """Whether names of folders are numbers of classes. Ids have seven digits, as IMDb's, which has no number 0."""
    if not all(name.isascii() and name.isdigit() and int(name) < CASIA_CLASSES for name in classes):
        return False
    return any(len(name) != ID_DIGITS or int(name) == 0 for name in classes)


def _note(selection: Selection, catalogue: Catalogue, rows: np.ndarray, reason: str) -> None:
    selection.left_out += [(catalogue.names[row], reason) for row in np.flatnonzero(rows)]
