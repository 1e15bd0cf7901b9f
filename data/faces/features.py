"""Embeddings in files: one array, an npz of arrays or of named vectors, or MegaFace's one OpenCV matrix per image.

| what | holds |
|---|---|
| FILE.npy | (N, D); memory-mapped |
| FILE.npz | `embeddings` or `features` (N, D), if known `names` (N,) and `ids` (N,); or one vector (D,) per name |
| FOLDER | matrices `NAME.bin` anywhere below, in the order of their names; an id is the folder they lie in |
"""

import json
import struct
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lsoftmax.errors import UserError, one_line

from .text import LIST_BYTES, numbered, read_lines

ARRAYS = ("embeddings", "features")
MATRIX_TYPES = {5: "<f4", 6: "<f8"}  # CV_32F, CV_64F


@dataclass(frozen=True, eq=False)
class Features:
    """values (N, D) floats; names and ids (N,), or None where the file does not say."""

    values: np.ndarray
    names: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> "Features":
        """The rows (K,) int64."""
        names, ids = (
            None if column is None else tuple(column[row] for row in rows) for column in (self.names, self.ids)
        )
        return Features(self.values[rows], names, ids)


def read_features(path: str | Path) -> Features:
    """What the table above says. UserError that names the file: not readable, not finite, all zero, mixed widths.

    Rows of a .npy file are not looked at here: they may not fit into memory.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        files = sorted(path.rglob("*.bin"))
        if not files:
            raise UserError(f"there are no *.bin features in {path}")
        return _of_files(path, files)
    if path.suffix not in (".npy", ".npz"):
        raise UserError(f"{path}: features are a .npy or .npz file, or a folder of OpenCV matrices (.bin)")
    found = _load(path)
    if isinstance(found, np.ndarray):
        return Features(_checked(path, found, rows=False))
    return _of_arrays(path, found)


def _load(path: Path) -> np.ndarray | dict[str, Any]:
    """The array of a .npy file, memory-mapped, or those of a .npz file."""
    try:
        found = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
        if isinstance(found, np.ndarray) and path.suffix == ".npy":
            return found
        if not isinstance(found, np.ndarray) and path.suffix == ".npz":
            with found:
                arrays = {name: found[name] for name in found.files}
            for name, array in arrays.items():
                if not isinstance(array, np.ndarray):
                    raise ValueError(f"{name} is no array")
            return arrays
    except Exception as error:  # numpy raises whatever a damaged header or archive leads to
        reason = "it does not exist" if isinstance(error, FileNotFoundError) else one_line(error)
        raise UserError(f"cannot read features from {path}: {reason}") from error
    other = ".npz" if path.suffix == ".npy" else ".npy"
    raise UserError(f"cannot read features from {path}: by its content it is a {other} file; rename it")


def read_listed(folder: str | Path, listing: str | Path, suffix: str) -> Features:
    """MegaFace's lists: JSON {"path": [...], "id": [...]}; the feature of a path lies in folder / (path + suffix)."""
    folder, listing = Path(folder).expanduser(), Path(listing).expanduser()
    try:
        if listing.stat().st_size > LIST_BYTES:
            raise UserError(f"{listing}: over {LIST_BYTES:,} bytes is no list of features")
        found = json.loads(listing.read_text())
        paths = [str(path) for path in found["path"]]
        ids = [str(identity) for identity in found["id"]] if "id" in found else None
    except OSError as error:
        raise UserError(f"cannot read {listing} ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f'{listing} is no list of features: wanted JSON {{"path": [...], "id": [...]}}') from error
    if ids is not None and len(ids) != len(paths):
        raise UserError(f"{listing} holds {len(ids)} ids for {len(paths)} paths")
    if not paths:
        raise UserError(f"{listing} names no features")
    for path in paths:
        if ".." in Path(path).parts or Path(path).is_absolute():
            raise UserError(f"{listing}: the path {path!r} leads out of {folder}")
    features = _of_files(folder, [folder / (path + suffix) for path in paths])
    return Features(features.values, features.names, tuple(ids) if ids is not None else features.ids)


def read_names(path: str | Path) -> list[str]:
    """One name of a feature a line."""
    return [line.strip() for _, line in numbered(read_lines(path))]


def read_noise(path: str | Path) -> set[str]:
    """Names of features, one a line, behind a tab the last field of it (MegaFace's have an index); # is a comment."""
    return {name.rpartition("\t")[2].strip() for name in read_names(path) if not name.startswith("#")}


def is_noise(features: Features, noise: Container[str], suffix: str) -> np.ndarray:
    """(N,) bool: whether the feature's name is in `noise`, as it is or without the suffix, with or without folders.

    InsightFace's list of FaceScrub has no folders, that of MegaFace has.
    """
    names = features.names or ("",) * len(features)
    return np.array([any(form in noise for form in _forms(name, suffix)) for name in names])


def _forms(name: str, suffix: str) -> tuple[str, ...]:
    base = name.rpartition("/")[2]
    return name, name.removesuffix(suffix), base, base.removesuffix(suffix)


def read_matrix(path: Path) -> np.ndarray:
    """The (D,) vector of an OpenCV matrix file: int32 rows, columns, step, type, then rows or columns of floats."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the feature {path} ({error.strerror})") from error
    except ValueError as error:  # a list may name what no file can be called
        raise UserError(f"cannot read the feature {str(path)!r} ({error})") from error
    if len(content) < 16:
        raise UserError(f"{path} is no feature: {len(content)} bytes, its head alone takes 16")
    rows, columns, step, kind = struct.unpack("<4i", content[:16])
    if kind not in MATRIX_TYPES:
        raise UserError(f"{path} is no feature: OpenCV type {kind}, wanted 5 (float32) or 6 (float64)")
    width = np.dtype(MATRIX_TYPES[kind]).itemsize
    if min(rows, columns) != 1 or step not in (width, width * columns):
        raise UserError(f"{path} is no feature: {rows} x {columns} with step {step}, wanted a single row or column")
    if len(content) != 16 + width * rows * columns:
        raise UserError(
            f"{path} has {len(content)} bytes, {rows} x {columns} numbers take {16 + width * rows * columns}"
        )
    vector = np.frombuffer(content, MATRIX_TYPES[kind], offset=16)
    if not np.isfinite(vector).all() or not vector.any():
        raise UserError(f"{path}: the feature is {'all zero' if not vector.any() else 'not finite'}")
    return vector


def _of_files(folder: Path, files: list[Path]) -> Features:
    values: np.ndarray | None = None
    for index, file in enumerate(files):
        vector = read_matrix(file)
        if values is None:
            values = np.empty((len(files), len(vector)), np.float32)
        elif len(vector) != values.shape[1]:
            raise UserError(f"{file} has {len(vector)} numbers, {files[0]} has {values.shape[1]}")
        values[index] = vector
    assert values is not None
    names = tuple(file.relative_to(folder).as_posix() for file in files)
    return Features(values, names, tuple(str(Path(name).parent) for name in names))


def _of_arrays(path: Path, arrays: dict[str, Any]) -> Features:
    if not arrays:
        raise UserError(f"{path} holds no arrays")
    for key in ARRAYS:
        if key in arrays and arrays[key].ndim == 2:
            values = _checked(path, arrays[key])
            return Features(values, _column(path, arrays, "names", values), _column(path, arrays, "ids", values))
    first, *others = arrays
    for name in others:
        if arrays[name].shape != arrays[first].shape:
            shapes = f"{arrays[first].shape} for {first}, {arrays[name].shape} for {name}"
            raise UserError(f"{path}: wanted an array `embeddings` (N, D), or equal vectors by name; found {shapes}")
    return Features(_checked(path, np.stack(list(arrays.values()))), tuple(arrays))


def _column(path: Path, arrays: dict[str, Any], key: str, values: np.ndarray) -> tuple[str, ...] | None:
    if key not in arrays:
        return None
    if arrays[key].shape != values.shape[:1]:
        raise UserError(f"{path}: {key} has shape {arrays[key].shape} for {len(values)} embeddings")
    return tuple(v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in arrays[key].tolist())


def _checked(path: Path, values: np.ndarray, rows: bool = True) -> np.ndarray:
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind != "f":
        raise UserError(f"{path}: wanted (N, D) floats, found {values.dtype} {values.shape}")
    if values.dtype.itemsize > 8:
        raise UserError(f"{path}: {values.dtype} is wider than torch's floats; save it as float64")
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    if rows and (bad := without_direction(values)):
        raise UserError(f"{path}: row {bad[0]} is {bad[1]}")
    return values


def without_direction(values: np.ndarray) -> tuple[int, str] | None:
    """The first row that has none to compare, and why: all zero or not finite."""
    finite, there = np.isfinite(values).all(axis=1), values.any(axis=1)
    if (finite & there).all():
        return None
    row = int(np.argmin(finite & there))
    return row, "all zero" if finite[row] else "not finite"
