"""InsightFace's packed training sets: which records are images, and who is on them."""

from pathlib import Path

import numpy as np

from lsoftmax.errors import UserError

from .catalogue import Catalogue, digest, folder_ids
from .decode import ImageError
from .lists import read_list
from .record_file import Header, RecordFile, class_label
from .recordio import RecordError

MAX_CLASSES = 10_000_000


class RecordImages:
    """Images of a record file by position."""

    def __init__(self, records: RecordFile) -> None:
        self.records = records

    def read(self, position: int) -> bytes:
        try:
            return self.records[position][1]
        except RecordError as error:
            raise ImageError(str(error)) from None


def from_records(path: Path, list_path: str | Path | None, *, repair: bool) -> Catalogue:
    """All records with an image. Header and identity records are only compared with what is there.

    list_path: train.lst, by default the one beside; it alone knows the ids of the labels.
    """
    records = RecordFile(path, repair=repair)
    positions, raw, extra = _images(records)
    if not positions:
        raise UserError(f"{path}: no record holds an image")
    values, labels = np.unique(np.array(raw, dtype=np.int64), return_inverse=True)
    notes = list(records.notes) + _disagreements(extra, len(positions), path)
    if len(values) > MAX_CLASSES:
        raise UserError(f"{path}: {len(values):,} classes")
    classes, has_ids = [str(value) for value in values.tolist()], False
    named = list_path is not None
    list_path = Path(list_path).expanduser() if list_path is not None else path.with_suffix(".lst")
    if named or list_path.is_file():  # read_list says it of one that is not there
        try:
            ids, said = _ids(list_path, values, np.bincount(labels))
        except UserError as error:
            if named:
                raise
            ids, said = None, ""  # nobody asked for it, and ids may not be needed
            notes.append(f"{error}; it is not used")
        has_ids = ids is not None
        classes = ids or classes
        notes += [f"{list_path}: {said}" + ("" if has_ids else "; it is not used")] * bool(said)
    return Catalogue(
        kind="records",
        path=str(path),
        names=[f"record {position}" for position in positions],
        labels=labels.astype(np.int64),
        classes=classes,
        keys=positions,
        read=RecordImages(records).read,
        fingerprint=digest([path.stat().st_size], records.offsets.tolist(), raw),
        has_ids=has_ids,
        notes=notes,
    )


def _images(records: RecordFile) -> tuple[list[int], list[int], list[Header]]:
    """Positions and labels of the images, and the headers without one."""
    positions, labels, extra = [], [], []
    for position, (header, size) in enumerate(records.headers()):
        # Two labels do not tell: the packer writes (label, aligned) too. No image does.
        if size == 0:
            extra.append(header)
            continue
        try:
            labels.append(class_label(header))
        except ValueError as error:
            raise UserError(f"{records.path}, record {position} (id {header.id}): {error}") from None
        positions.append(position)
    return positions, labels, extra


def _disagreements(extra: list[Header], images: int, path: Path) -> list[str]:
    """What the header record (id 0: [N + 1, N + 1 + K]) and the identity records say against the images."""
    notes = []
    first = next((header for header in extra if header.id == 0 and len(header.labels) == 2), None)
    if first is not None:
        promised = first.labels[0] - 1
        if promised != images:
            notes.append(f"{path}: its header promises {promised:,.0f} images, {images:,} are there")
        ranges = [header.labels for header in extra if header is not first and len(header.labels) == 2]
        covered = sum(end - start for start, end in ranges)
        if ranges and covered != images:
            notes.append(f"{path}: its identity records cover {covered:,.0f} images, {images:,} are there")
    return notes


def _ids(list_path: Path, values: np.ndarray, counts: np.ndarray) -> tuple[list[str] | None, str]:
    """The folder of every label, None if the list does not tell; and what should be said of the list.

    counts: images of each label. A list of another build has labels of its own: it would name the wrong people.
    """
    rows = read_list(list_path)
    rank = {str(value): label for label, value in enumerate(values.tolist())} if rows.numeric else {}
    known = [(path, rank[label]) for path, label in zip(rows.paths, rows.labels, strict=True) if label in rank]
    names, labels = [path for path, _ in known], np.array([label for _, label in known], dtype=np.int64)
    listed = np.bincount(labels, minlength=len(values))
    if rank and (listed < counts).any():
        lacking = int((listed < counts).argmax())
        return None, (
            f"not of this record file: {listed[lacking]:,} lines for label {values[lacking]}, which has "
            f"{counts[lacking]:,} images"
        )
    ids = folder_ids(names, labels, len(values)) if rank else None
    if ids is None:
        return None, "does not give every label a folder of its own"
    more = len(rows.paths) != counts.sum()
    return ids, f"{len(rows.paths):,} lines for {counts.sum():,} images" if more else ""
