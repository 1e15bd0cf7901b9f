"""A packed face set: uint8 crops that are mapped into memory, labels, and what was done to make them."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lsoftmax.errors import UserError, one_line

from .files import listed, rows_of

FORMAT = 1
AGREED = ("size", "colour")  # and the alignment
PREPARATION = {*AGREED, "alignment"}
MANIFEST = "manifest.json"


class PackedFaces:
    """N images of C people, written by scripts/prepare_faces.py.

    folder/images.npy is (N, 3, H, W) uint8, RGB; labels.npy (N,) int64 in 0 .. C - 1; names.txt one source name a line;
    manifest.json says what was done. Images are read from the disk as they are used. Can be pickled, used after a fork.
    Raises UserError for a folder that is no such pack, or whose files do not fit each other.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        self.manifest: dict[str, Any] = _read_manifest(self.folder / MANIFEST)
        shape = (self.manifest["images"], 3, *self.manifest["size"])
        if self.images.shape != shape or self.images.dtype != np.uint8:
            raise UserError(f"{self.folder}: images.npy is {self.images.dtype} {self.images.shape}, not uint8 {shape}")
        if self.labels.shape != shape[:1] or self.labels.dtype != np.int64:
            raise UserError(
                f"{self.folder}: labels.npy is {self.labels.dtype} {self.labels.shape}, not int64 {shape[:1]}"
            )
        if len(self) and not 0 <= self.labels.min() <= self.labels.max() < self.num_classes:
            raise UserError(f"{self.folder}: labels.npy has labels outside 0 .. {self.num_classes - 1}")

    def __len__(self) -> int:
        return int(self.manifest["images"])

    @property
    def num_classes(self) -> int:
        return int(self.manifest["identities"])

    @property
    def preparation(self) -> dict[str, Any]:
        """What training and testing must agree on, see `check_same_preparation`."""
        return {key: self.manifest[key] for key in sorted(PREPARATION)}

    @property
    def classes(self) -> list[str]:
        """(C,): the source's name for each label."""
        return list(self.manifest["classes"])

    @cached_property
    def images(self) -> np.ndarray:
        """(N, 3, H, W) uint8, RGB, read-only, mapped."""
        return _load(self.folder / "images.npy", mapped=True)

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int64."""
        return _load(self.folder / "labels.npy", mapped=False)

    @cached_property
    def names(self) -> list[str]:
        """(N,): the name of each image in its source."""
        path = self.folder / "names.txt"
        try:
            text = path.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); prepare the set again") from None
        names = text.removesuffix("\n").split("\n")
        if len(names) != len(self):
            raise UserError(f"{self.folder}: names.txt has {len(names):,} names for {len(self):,} images")
        return names

    def rows(self, names: Sequence[str]) -> np.ndarray:
        """(K,) int64: where these names are, whatever their extensions. UserError that lists those that are not."""
        there = rows_of(self.names, names, self.folder)
        missing = [name for name in names if name not in there]
        if missing:
            raise UserError(f"{len(missing)} of {len(names)} images are not in {self.folder}: {listed(missing)}")
        return np.array([there[name] for name in names], dtype=np.int64)

    def __getstate__(self) -> dict[str, Any]:
        # A pickled map would be a copy of all images.
        return {key: value for key, value in self.__dict__.items() if key != "images"}


def check_same_preparation(training: dict[str, Any], testing: dict[str, Any]) -> list[str]:
    """Refuse, as a UserError, to test on images that were made in another way than those of the training.

    Both are what `PackedFaces.preparation` or `Crop.describe` returns. Returns what cannot be known and should be
    said: images that were aligned elsewhere (aligned=true) may or may not be aligned alike.
    """
    different = [key for key in AGREED if training[key] != testing[key]]
    before, now = training["alignment"], testing["alignment"]
    elsewhere = "none" in (before["method"], now["method"])
    if before != now and not elsewhere:
        different.append("alignment")
    if different:
        shown = "; ".join(
            f"{key} {_short(training[key])} in training, {_short(testing[key])} here" for key in different
        )
        raise UserError(f"these faces were prepared in another way than those of the training: {shown}")
    if before != now:
        return [f"alignment {_short(before)} in training, {_short(now)} here: make sure that they agree"]
    return []


def is_pack(path: Path) -> bool:
    """Whether scripts/prepare_faces.py has written this folder."""
    return (path / MANIFEST).is_file()


def _short(value: Any) -> str:
    return "/".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text())
        if manifest["format"] != FORMAT:
            raise UserError(f"{path}: format {manifest['format']}, this program reads {FORMAT}; prepare the set again")
        wanted = ("images", "identities", "classes", *sorted(PREPARATION))
        missing = [key for key in wanted if key not in manifest]
        sizes = [manifest["images"], manifest["identities"], *manifest["size"]]
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); scripts/prepare_faces.py makes such a set"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}); prepare the set again") from None
    if missing or len(sizes) != 4 or not all(type(size) is int and 0 <= size < 2**40 for size in sizes):
        raise UserError(f"{path}: damaged; prepare the set again")
    if not isinstance(manifest["classes"], list):
        raise UserError(f"{path}: damaged (classes is no list); prepare the set again")
    if not isinstance(manifest["alignment"], dict) or "method" not in manifest["alignment"]:
        raise UserError(f"{path}: damaged (alignment names no method); prepare the set again")
    if len(manifest["classes"]) != manifest["identities"]:
        raise UserError(f"{path}: {len(manifest['classes'])} classes are named of {manifest['identities']}")
    return dict(manifest)


def _load(path: Path, *, mapped: bool) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except Exception as error:  # numpy raises whatever a damaged header leads to
        raise UserError(f"{path}: cannot be read ({one_line(error)}); prepare the set again") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: an archive instead of an array")
    return array
