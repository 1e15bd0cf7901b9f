"""`path label` lists in the forms that go round, told apart by their first hundred lines."""

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lsoftmax.errors import UserError

from .names import is_image_name, parent
from .text import SNIFFED, numbered, read_lines, separator

Row = tuple[str, str | None]  # path, label; None: its folder is the label
Split = Callable[[str], list[str]]  # of a line
Form = Callable[[Sequence[str]], Row | None]  # of a line's fields; None if it is not of this form


@dataclass(frozen=True)
class PathList:
    """One entry a line, in the file's order."""

    paths: list[str]  # as written, with / between the parts
    labels: list[str]
    numeric: bool  # all labels are integers: their order is that of the numbers
    lines: list[int]  # where each stands


def read_list(path: str | Path, lines: list[str] | None = None) -> PathList:
    """Read `path label`, `label path`, csv, InsightFace's and MXNet's .lst, or bare paths.

    lines: the file's lines, where they come out of an archive. UserError that names the line for one that is not of the
    form of the others.
    """
    lines = read_lines(path) if lines is None else lines
    entries = list(numbered(lines))
    if not entries:
        raise UserError(f"{path}: an empty list")
    split, form, has_header = _sniff(path, entries)
    paths, labels, numbers = [], [], []
    for number, line in entries[has_header:]:
        row = form(split(line))
        if row is None:
            raise UserError(f"{path}, line {number}: cannot read {line[:80]!r} like the lines above it")
        name = row[0].replace("\\", "/")
        label = parent(name) if row[1] is None else row[1]
        if not label:
            raise UserError(f"{path}, line {number}: {line[:80]!r} has neither a label nor a folder")
        paths.append(name)
        labels.append(label)
        numbers.append(number)
    labels, numeric = _class_numbers(path, paths, labels, numbers)
    return PathList(paths, labels, numeric, numbers)


def _sniff(path: str | Path, entries: list[tuple[int, str]]) -> tuple[Split, Form, bool]:
    """How a line is split, what its fields are, and whether the first line is a header."""
    sample = [line for _, line in entries[: SNIFFED + 1]]
    splits = _splits(separator(sample))
    may_have_header = not any(map(is_image_name, sample[0].replace(",", " ").split()))
    for has_header in (False, True) if may_have_header else (False,):
        for split, form in splits:
            if len(sample) > has_header and all(form(split(line)) is not None for line in sample[has_header:]):
                return split, form, has_header
    number, line = entries[_misfit(sample, may_have_header)]
    raise UserError(f"{path}, line {number}: cannot read {line[:80]!r}; a line is an image's path and its label")


def _misfit(sample: list[str], may_have_header: bool) -> int:
    """The first line that the form rejects which reads most of them; a wrong line may lack what parts the others."""
    forms = [way for mark in ("\t", ",", None) for way in _splits(mark)]
    best = max(([form(split(line)) is not None for line in sample] for split, form in forms), key=sum)
    wrong = [index for index, read in enumerate(best) if not read]
    header = any(best) and may_have_header and len(wrong) > 1
    return wrong[header] if wrong else 0


def _splits(mark: str | None) -> list[tuple[Split, Form]]:
    """The ways to read a line whose fields are parted by the mark."""
    if mark is None:
        return [(_split_right, _path_label), (_split_left, _number_path), (lambda line: [line.strip()], _path)]
    fields = _by_comma if mark == "," else _by_tab
    return [(fields, form) for form in (_path_label, _label_path, _insightface, _mxnet, _path_label_points)]


def _by_tab(line: str) -> list[str]:
    return [field.strip() for field in line.strip().split("\t")]


def _by_comma(line: str) -> list[str]:
    return [field.strip() for field in next(csv.reader([line]))]


def _split_right(line: str) -> list[str]:
    return line.strip().rsplit(None, 1)


def _split_left(line: str) -> list[str]:
    return line.strip().split(None, 1)


def _path(fields: Sequence[str]) -> Row | None:
    return (fields[0], None) if len(fields) == 1 and is_image_name(fields[0]) else None


def _path_label(fields: Sequence[str]) -> Row | None:
    if len(fields) != 2 or not is_image_name(fields[0]) or is_image_name(fields[1]) or not fields[1]:
        return None
    return fields[0], fields[1]


def _label_path(fields: Sequence[str]) -> Row | None:
    if len(fields) != 2 or not is_image_name(fields[1]) or is_image_name(fields[0]) or not fields[0]:
        return None
    return fields[1], fields[0]


def _number_path(fields: Sequence[str]) -> Row | None:
    """Of fields that blanks part a word in front may be part of the path."""
    return _label_path(fields) if fields and _is_number(fields[0]) else None


def _insightface(fields: Sequence[str]) -> Row | None:
    """aligned, path, label, and perhaps a box and landmarks."""
    if len(fields) not in (3, 7, 17) or fields[0] not in ("0", "1") or not is_image_name(fields[1]):
        return None
    return (fields[1], fields[2]) if _is_number(fields[2]) else None


def _mxnet(fields: Sequence[str]) -> Row | None:
    """index, label, path."""
    if len(fields) != 3 or not fields[0].isdigit() or not is_image_name(fields[2]):
        return None
    return (fields[2], fields[1]) if _is_number(fields[1]) else None


def _path_label_points(fields: Sequence[str]) -> Row | None:
    """path, label, five landmarks."""
    if len(fields) != 12 or not is_image_name(fields[0]) or not all(map(_is_number, fields[2:])):
        return None
    return fields[0], fields[1]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _class_numbers(path: str | Path, paths: list[str], labels: list[str], numbers: list[int]) -> tuple[list[str], bool]:
    """The labels, and whether they are class numbers: those have to be whole and not negative, and are written in one
    way.
    """
    if not all(map(_is_number, labels)):
        return labels, False
    # Folder names of seven digits are names: their zeros in front are kept.
    named = all(label == parent(name) for name, label in zip(paths, labels, strict=True))
    for number, label in zip(numbers, labels, strict=True):
        value = float(label)
        if not math.isfinite(value) or value < 0 or value != int(value) or value >= 2**53:
            raise UserError(f"{path}, line {number}: label {label[:40]} is no class number")
    return labels if named else [str(int(float(label))) for label in labels], not named
