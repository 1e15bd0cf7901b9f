"""Files that are either the old one or the new one, never half of one."""

import fcntl
import json
import math
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from lsoftmax.errors import UserError, first_line


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write beside, flush to the disk, rename. UserError if the disk refuses; what was there before stays."""
    beside = path.with_name(path.name + ".part")
    try:
        with open(beside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _flush_folder(path.parent)
    # torch.save reports a refused write as RuntimeError.
    except (OSError, RuntimeError) as error:
        with suppress(OSError):  # a read-only file system, a folder that is none
            beside.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Indented, but lists of numbers on one line: a record may list thousands of images."""
    text = json.dumps(plain(value), indent=1, allow_nan=False)
    text = re.sub(r"\[\n[\s\d,.eE+-]*+\]", lambda found: " ".join(found[0].split()), text)
    write_text(path, text + "\n")


def plain(value: Any) -> Any:
    """The value as JSON can hold it: inf and nan, for which it has no number, become strings."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def link_or_copy(source: Path, target: Path) -> None:
    """target becomes what source is now; a later rename over source leaves it. UserError if the disk refuses."""
    beside = target.with_name(target.name + ".part")
    try:
        beside.unlink(missing_ok=True)
        try:
            os.link(source, beside)
        except OSError:  # a file system without links
            shutil.copyfile(source, beside)
        os.replace(beside, target)
    except OSError as error:
        raise cannot_write(target, error) from error


def make_folder(folder: Path) -> None:
    """With its parents, where there is none. UserError if that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def lock(file: TextIO, path: Path) -> bool:
    """Whether the open file, which lies at `path`, is this process's now, until it is closed; False if another has it.

    UserError if the file system knows no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise UserError(f"cannot lock {path}: {error.strerror}; choose a folder on another file system") from error
    return True


def cannot_write(path: Path, error: BaseException) -> UserError:
    return UserError(f"cannot write {path}: {_reason(error)}; free some space or write elsewhere (run_dir=, out=)")


def _reason(error: BaseException) -> str:
    """The first system error in the chain, or what was said."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return first_line(error)


def _flush_folder(folder: Path) -> None:
    """Without this the rename itself may be lost with the power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
