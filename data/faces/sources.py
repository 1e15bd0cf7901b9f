"""From a path, and perhaps lists, to a catalogue."""

import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np

from lsoftmax.errors import UserError

from .archive import ZipImages
from .catalogue import Catalogue, digest, folder_ids, labelled
from .decode import ImageError
from .folders import FolderImages
from .landmarks import read_landmarks
from .lists import PathList, read_list
from .names import Resolver, parent, relative
from .record_source import from_records
from .text import lines_of


def open_source(
    path: str | Path,
    *,
    list_path: str | None = None,
    landmarks: str | None = None,
    repair: bool = False,
    max_missing: float = 0.01,
) -> Catalogue:
    """What is at `path`: a .rec file or the folder that holds train.rec, a folder of identity folders, or a zip of one.

    list_path: a list that says which images, and who is on them; a path, or a member of the zip.
    landmarks: a list of five landmarks.
    max_missing: the share of listed images that may be missing.
    UserError for anything that cannot be read.
    """
    path = Path(path).expanduser()
    records = record_path(path)
    if records is not None:
        if landmarks is not None:
            raise UserError("landmarks=: the images of a record file have no names to look them up by")
        return from_records(records, list_path, repair=repair)
    images: FolderImages | ZipImages
    if path.is_dir():
        images = FolderImages(path)
        fingerprint = digest(images.names, images.sizes)
    elif zipfile.is_zipfile(path):
        images = ZipImages(path)
        fingerprint = digest(images.names, images.checksums())
    else:
        raise UserError(f"source={path}: neither a folder, a zip nor a .rec file; unpack other archives first")
    catalogue = _by_folder(images, path, fingerprint)
    if list_path is not None:
        catalogue = _by_list(catalogue, list_path, images, max_missing)
    if not len(catalogue):
        raise UserError(f"source={path}: no images in identity folders (ID/NNN.jpg)")
    return catalogue if landmarks is None else _with_landmarks(catalogue, landmarks)


def record_path(path: Path) -> Path | None:
    """The record file that a source is, or holds; None if it is something else. UserError if it is not there."""
    if not os.path.exists(path):
        raise UserError(f"source={path}: not there")
    if path.is_file():
        return path if path.suffix == ".rec" else None
    found = sorted(path.glob("*.rec"))
    if len(found) > 1 and path / "train.rec" not in found:
        raise UserError(f"source={path}: holds {', '.join(file.name for file in found)}; name one of them")
    return None if not found else found[0] if len(found) == 1 else path / "train.rec"


def _by_folder(images: FolderImages | ZipImages, path: Path, fingerprint: str) -> Catalogue:
    left_out = list(images.left_out)
    names = [name for name in images.names if parent(name)]
    left_out += [(name, "in no identity folder") for name in images.names if not parent(name)]
    labels, classes = labelled([parent(name) for name in names], numeric=False)
    kind = "folder" if isinstance(images, FolderImages) else "zip"
    return Catalogue(kind, str(path), names, labels, classes, list(names), images.read, fingerprint, left_out=left_out)


def _by_list(catalogue: Catalogue, list_path: str, images: FolderImages | ZipImages, max_missing: float) -> Catalogue:
    """Only what the list names, labelled as it says, in its order."""
    rows, text_digest = _read_list(list_path, images)
    available = images.names
    resolver = Resolver(available)
    positions, kept, missing, repeated, outside = [], [], [], [], 0
    row_of: dict[int, int] = {}
    for row, name in enumerate(rows.paths):
        position = resolver.find(name)
        first = row if position is None else row_of.setdefault(position, row)
        if position is None:
            missing.append(row)
        elif rows.labels[first] != rows.labels[row]:
            raise UserError(
                f"{list_path}, line {rows.lines[row]}: {name!r} is the image of line {rows.lines[first]}, which has "
                "another label"
            )
        elif first != row:  # packed twice it could be a test image and a training image
            repeated.append(row)
        else:
            positions.append(position)
            kept.append(row)
            outside += relative(name) is None
    if len(missing) > max_missing * len(rows.paths):
        examples = ", ".join(f"{rows.paths[row]!r} (line {rows.lines[row]})" for row in missing[:3])
        raise UserError(
            f"{list_path}: {len(missing):,} of {len(rows.paths):,} images are not in {catalogue.path}: {examples}; "
            "max_missing= sets the share that may be"
        )
    names = [available[position] for position in positions]
    labels, classes = labelled([rows.labels[row] for row in kept], numeric=rows.numeric)
    ids = folder_ids(names, labels, len(classes)) if rows.numeric else None
    notes = list(catalogue.notes)
    if outside:
        notes.append(f"{list_path}: {outside:,} paths lie outside the source; only their folder/file was used")
    return Catalogue(
        kind=f"list in {catalogue.kind}",
        path=catalogue.path,
        names=names,
        labels=labels,
        classes=ids or classes,
        keys=list(names),
        read=catalogue.read,
        fingerprint=digest([catalogue.fingerprint, text_digest]),
        has_ids=ids is not None or not rows.numeric,
        left_out=[
            *images.left_out,
            *((rows.paths[row], "listed but missing") for row in missing),
            *((rows.paths[row], "listed a second time") for row in repeated),
        ],
        notes=notes,
    )


def _read_list(list_path: str, images: FolderImages | ZipImages) -> tuple[PathList, str]:
    path = Path(list_path).expanduser()
    if not path.is_file() and isinstance(images, ZipImages) and list_path in images.others:
        try:
            content = images.read(list_path)
        except ImageError as error:
            raise UserError(f"{images.path}, {list_path}: {error}") from None
        text = content.decode("utf-8-sig", errors="surrogateescape")
        return read_list(list_path, lines_of(text, list_path)), hashlib.sha256(content).hexdigest()
    rows = read_list(path)
    return rows, digest(rows.paths, rows.labels)


def _with_landmarks(catalogue: Catalogue, path: str) -> Catalogue:
    found = read_landmarks(path)
    resolver = Resolver(catalogue.names)
    points = np.full((len(catalogue), 5, 2), np.nan)
    known = 0
    for name, five in zip(found.names, found.points, strict=True):
        position = resolver.find(name)
        if position is not None and np.isnan(points[position]).all():  # the first line of an image counts
            points[position] = five
            known += 1
    if not known:
        raise UserError(f"{path}: names none of the images of {catalogue.path} (its first is {found.names[0]!r})")
    catalogue.landmarks = points
    catalogue.notes.append(f"{path}: landmarks of {known:,} of {len(catalogue):,} images, laid out as {found.layout}")
    catalogue.fingerprint = digest([catalogue.fingerprint], points.ravel().tolist())
    return catalogue
