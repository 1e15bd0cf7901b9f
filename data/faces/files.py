"""From the names in a list to files under a folder, never to files elsewhere."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from lsoftmax.errors import UserError

from .names import EXTENSIONS

SHOWN = 20  # of the names of missing images


def find_images(root: str | Path, names: Sequence[str]) -> list[Path]:
    """The file of each name under root; a name without an extension is tried with those of images.

    Absolute paths, of another machine as a rule, count by their last two parts. UserError that lists what is missing,
    or for a name that leads out of root.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise UserError(f"there is no folder {root}")
    found, missing = [], []
    for name in names:
        path = _find(root, name)
        if path is None:
            missing.append(name)
        else:
            found.append(path)
    if missing:
        raise UserError(f"{len(missing)} of {len(names)} images are not in {root}: {listed(missing)}")
    return found


def stem(name: str) -> str:
    """The name as lists and feature files agree on it: forward slashes, no image extension, no leading dot."""
    path = _posix(name)
    return str(path.with_suffix("") if path.suffix.lower() in EXTENSIONS else path)


def rows_of(names: Sequence[str], wanted: Iterable[str], where: str | Path) -> dict[str, int]:
    """The row in `names` of each wanted name that is there: as written, else the one that differs by its extension.

    UserError where several rows could be meant: which is taken decides what is measured.
    """
    exact, stems = defaultdict[str, list[int]](list), defaultdict[str, list[int]](list)
    for row, name in enumerate(names):
        exact[str(_posix(name))].append(row)
        stems[stem(name)].append(row)
    found = {}
    for name in wanted:
        rows = exact.get(str(_posix(name))) or stems.get(stem(name)) or []
        if len(rows) > 1:
            one, other = (f"{names[row]!r} (row {row})" for row in rows[:2])
            raise UserError(f"{where}: {name!r} may be {one} or {other}; name each image once, and with its extension")
        if rows:
            found[name] = rows[0]
    return found


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _posix(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


def _find(root: Path, name: str) -> Path | None:
    relative = _posix(name)
    if relative.is_absolute() or re.match(r"[A-Za-z]:", name):
        relative = PurePosixPath(*[part for part in relative.parts if part.strip("/")][-2:])
    if ".." in relative.parts or "\0" in name or not relative.name:
        raise UserError(f"the name {name!r} leads out of {root}")
    path = root / relative
    if relative.suffix.lower() in EXTENSIONS:
        spellings = (relative.suffix, relative.suffix.lower(), relative.suffix.upper())
        candidates = [path.with_suffix(suffix) for suffix in spellings]
    else:
        endings = (*EXTENSIONS, *map(str.upper, EXTENSIONS))
        candidates = [path.with_name(path.name + ending) for ending in endings]
    return next((candidate for candidate in candidates if os.path.isfile(candidate)), None)  # Path's own may raise
