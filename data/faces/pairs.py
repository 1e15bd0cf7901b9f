"""Lists of image pairs: LFW's own files, paths with a label, csv, and the two-line form of CALFW and CPLFW.

| form | line | taken for it if |
|---|---|---|
| lfw | `name i j` matched, `name i name j` mismatched; images `name/name_000i` | the fields i, j are numbers |
| paths | `path path label` or `label path path` | three fields, one of them a number |
| lines | `path label`, two lines a pair | two fields |

Fields are separated by commas or tabs (with or without a header; a column `fold` is heeded), or by blanks.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lsoftmax.errors import UserError

from .names import is_image_name
from .text import LIST_BYTES, MAX_LINE

LABELS = {"1": True, "0": False, "-1": False}

Line = tuple[int, list[str]]  # the line's number in the file, counted from 1, and its fields


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pair k is left[k], right[k]: names as in the file, of LFW's form without an extension.

    same: (P,) bool. folds: (P,) int64 if the file says which, else None. of_lfw: whether it is of LFW's form.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    same: np.ndarray
    folds: np.ndarray | None = None
    of_lfw: bool = False

    def __len__(self) -> int:
        return len(self.left)

    def names(self) -> list[str]:
        """Every image once, in the order of its first appearance."""
        return list(dict.fromkeys(name for pair in zip(self.left, self.right, strict=True) for name in pair))


def read_pairs(path: str | Path) -> Pairs:
    """The pairs of the file, in its order. UserError that names the line for whatever is none of the forms above."""
    path = Path(path).expanduser()
    lines, has_columns = _fields(path)
    counts = [int(field) for field in lines[0][1]] if all(map(_is_count, lines[0][1])) else []
    if counts and len(counts) <= 2:
        lines = lines[1:]
    else:
        counts = []
    if not lines:
        raise UserError(f"{path}: there are no pairs in it")

    first = lines[0][1]
    if len(first) == 2:
        pairs = _two_lines(path, lines)
    elif _is_lfw(first):
        pairs = _lfw(path, lines)
    else:
        pairs = _paths(path, lines, has_columns)
    if len(counts) == 2:
        return _with_folds(path, pairs, *counts)
    if counts and len(pairs) != 2 * counts[0]:
        raise UserError(f"{path}: its first line says 2 x {counts[0]} pairs, there are {len(pairs)}")
    return pairs


def deal_folds(same: np.ndarray, folds: int = 10) -> tuple[np.ndarray, bool]:
    """(P,) fold ids, and whether they had to be dealt anew.

    Contiguous folds in the order of the pairs; but if one of them is not within 40-60 % matched (CALFW's and CPLFW's
    files hold all matched pairs first), fold k takes the k-th part of the matched and of the mismatched pairs, in their
    order. UserError if there are too few pairs of a kind.
    """
    same = np.asarray(same, dtype=bool)
    if min(same.sum(), (~same).sum()) < folds:
        raise UserError(f"{same.sum()} matched and {(~same).sum()} mismatched pairs are too few for {folds} folds")
    # As KFold deals without shuffling: the first folds are the larger ones.
    ids = np.repeat(np.arange(folds), [len(part) for part in np.array_split(same, folds)])
    shares = np.bincount(ids, weights=same) / np.bincount(ids)
    if ((shares >= 0.4) & (shares <= 0.6)).all():
        return ids, False
    for kind in (same, ~same):
        ids[kind] = np.arange(kind.sum()) * folds // kind.sum()
    return ids, True


def _fields(path: Path) -> tuple[list[Line], bool]:
    """The fields of every line that is not blank, and whether commas or tabs part them."""
    try:
        if path.stat().st_size > LIST_BYTES:
            raise UserError(f"{path}: over {LIST_BYTES:,} bytes is no list of pairs")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read the pairs file {path} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise UserError(f"{path} is empty")
    for number, line in lines:
        if len(line) > MAX_LINE:
            raise UserError(f"{path}, line {number}: {len(line):,} characters; this is no list of pairs")
    last = lines[-1][1]  # the first may be a count
    if "," in last and "\t" not in last:
        rows = [(number, [field.strip() for field in row]) for number, line in lines for row in csv.reader([line])]
        return rows, True
    separator = "\t" if last.count("\t") else None
    return [(number, _split(line, separator)) for number, line in lines], bool(separator)


def _split(line: str, separator: str | None) -> list[str]:
    """Its fields; runs of tabs part them as one does, and a line of counts may have blanks above tabs."""
    if line.replace(" ", "").isdigit():
        separator = None
    return [field.strip() for field in line.split(separator) if field.strip()]


def _lfw(path: Path, lines: list[Line]) -> Pairs:
    left, right, same = [], [], []
    for number, fields in lines:
        if not _is_lfw(fields):
            raise _bad(path, number, fields, "name i j, or name i name j")
        matched = len(fields) == 3
        left.append(_lfw_name(fields[0], fields[1]))
        right.append(_lfw_name(fields[0] if matched else fields[2], fields[-1]))
        same.append(matched)
    return Pairs(tuple(left), tuple(right), np.array(same), of_lfw=True)


def _paths(path: Path, lines: list[Line], has_columns: bool) -> Pairs:
    number, first = lines[0]
    header = [field.lower() for field in first]
    fold_column = header.index("fold") if "fold" in header else None
    if not any(_is_number(field) for field in header):
        # A pair whose label cannot be read looks like a header too: it must not be dropped for one.
        if not has_columns or any("/" in field or "\\" in field or is_image_name(field) for field in header):
            raise _bad(path, number, first, "path path label or label path path, with label 1 (same) or 0")
        lines = lines[1:]
    if not lines:
        raise UserError(f"{path}: there are no pairs in it")
    width = 3 if fold_column is None else 4
    rows = list(_without(lines, fold_column)) if fold_column is not None else lines
    label = 0 if all(_is_number(fields[0]) for _, fields in rows if fields) else 2
    left, right, same, folds = [], [], [], []
    for (number, whole), (_, fields) in zip(lines, rows, strict=True):
        if len(whole) != width or fields[label] not in LABELS:
            raise _bad(path, number, whole, "path path label or label path path, with label 1 (same) or 0")
        one, other = fields[1:] if label == 0 else fields[:2]
        left.append(one)
        right.append(other)
        same.append(LABELS[fields[label]])
        if fold_column is not None:
            if not _is_count(whole[fold_column]):
                raise _bad(path, number, whole, "a fold number in the column fold")
            folds.append(int(whole[fold_column]))
    return Pairs(tuple(left), tuple(right), np.array(same), np.array(folds) if folds else None)


def _two_lines(path: Path, lines: list[Line]) -> Pairs:
    for number, fields in lines:
        if len(fields) != 2 or not _is_number(fields[1]):
            raise _bad(path, number, fields, "path label, two lines a pair")
    if len(lines) % 2:
        raise UserError(f"{path}: two lines make a pair, but there are {len(lines)}")
    for (_, one), (number, other) in zip(lines[::2], lines[1::2], strict=True):
        if one[1] != other[1]:
            raise UserError(f"{path}, line {number}: label {other[1]} after {one[1]} within a pair")
    images = [fields[0] for _, fields in lines]
    same = np.array([int(fields[1]) > 0 for _, fields in lines[::2]])
    return Pairs(tuple(images[::2]), tuple(images[1::2]), same)


def _with_folds(path: Path, pairs: Pairs, folds: int, half: int) -> Pairs:
    if folds < 1 or len(pairs) != 2 * folds * half:
        raise UserError(f"{path}: its first line says {folds} folds of 2 x {half} pairs, there are {len(pairs)}")
    return replace(pairs, folds=np.repeat(np.arange(folds), 2 * half))


def _without(lines: list[Line], column: int) -> Iterator[Line]:
    for number, fields in lines:
        yield number, fields[:column] + fields[column + 1 :]


def _is_lfw(fields: list[str]) -> bool:
    return (len(fields) == 3 and all(map(_is_count, fields[1:]))) or (
        len(fields) == 4 and _is_count(fields[1]) and _is_count(fields[3])
    )


def _lfw_name(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}"


def _is_count(field: str) -> bool:
    return field.isascii() and field.isdigit() and len(field) < 10


def _is_number(field: str) -> bool:
    return _is_count(field.removeprefix("-"))


def _bad(path: Path, number: int, fields: list[str], wanted: str) -> UserError:
    return UserError(f"{path}, line {number}: cannot read {' '.join(fields)[:200]!r}; wanted {wanted}")
