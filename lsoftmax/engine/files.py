"""Files that are either the old one or the new one, never half of one."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from lsoftmax.errors import UserError


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
        beside.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {_reason(error)}; free some space or choose another run_dir=") from error


def write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def _reason(error: BaseException) -> str:
    """The first system error in the chain, or the first line of what was said."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error).splitlines()[0]


def _flush_folder(folder: Path) -> None:
    """Without this the rename itself may be lost with the power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
