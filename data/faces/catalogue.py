"""What a source holds, whatever its form: images by name, the person of each, and how to read them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .names import parent


@dataclass
class Catalogue:
    """N images of C people. Nothing is decoded yet."""

    kind: str  # records, folder, zip, list in folder, ...
    path: str
    names: list[str]  # (N,)
    labels: np.ndarray  # (N,) int64, into classes
    classes: list[str]  # (C,) in the order of their labels: an id or a folder's name, where the source has one
    keys: list[Any]  # (N,) what `read` takes
    read: Callable[[Any], bytes]
    fingerprint: str  # of names, sizes and labels: whether it is the same source as before
    has_ids: bool = True  # classes are ids, by which people can be excluded
    landmarks: np.ndarray | None = None  # (N, 5, 2) float64, nan where unknown
    left_out: list[tuple[str, str]] = field(default_factory=list)  # name, reason
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)


def labelled(identities: Sequence[str], *, numeric: bool) -> tuple[np.ndarray, list[str]]:
    """(N,) labels and the class names: ascending numbers, or names sorted byte by byte."""

    def key(name: str) -> Any:
        return int(name) if numeric else name.encode(errors="surrogateescape")

    classes = sorted(set(identities), key=key)
    rank = {name: label for label, name in enumerate(classes)}
    return np.array([rank[name] for name in identities], dtype=np.int64), classes


def folder_ids(names: Sequence[str], labels: np.ndarray, count: int) -> list[str] | None:
    """For numbered classes the folder of each, if every class has one of its own."""
    found: list[str | None] = [None] * count
    for name, label in zip(names, labels.tolist(), strict=True):
        folder = parent(name)
        if not folder or found[label] not in (None, folder):
            return None
        found[label] = folder
    ids = [folder for folder in found if folder is not None]
    return ids if len(set(ids)) == count else None


def digest(*columns: Sequence[Any]) -> str:
    """A hash of lists of text and numbers."""
    sha = hashlib.sha256()
    for column in columns:
        sha.update(f"{len(column)}\n".encode())
        sha.update("\n".join(map(str, column)).encode(errors="surrogateescape"))
    return sha.hexdigest()
