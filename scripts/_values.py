"""Values of the scripts' own options, checked: one line names the key and what is accepted."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from configs.errors import ConfigError


def whole(own: dict[str, str], key: str, default: int, *, least: int = 1) -> int:
    if key not in own:
        return default
    if not _is_whole(own[key]) or int(own[key]) < least:
        raise ConfigError(f"{key} must be an integer >= {least}, got {own[key][:80]!r}")
    return int(own[key])


def wholes(own: dict[str, str], key: str, default: Sequence[int], *, least: int) -> tuple[int, ...]:
    """A list is written 1,10,100."""
    if key not in own:
        return tuple(default)
    parts = own[key].split(",")
    if not all(_is_whole(part) and int(part) >= least for part in parts):
        raise ConfigError(f"{key} must be integers, as in 1,10,100, >= {least}, got {own[key][:80]!r}")
    return tuple(int(part) for part in parts)


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18  # Python refuses numbers of thousands of digits


def flag(own: dict[str, str], key: str, default: bool) -> bool:
    value = own.get(key, str(default)).lower()
    if value not in ("true", "false"):
        raise ConfigError(f"{key} must be true or false, got {own[key]!r}")
    return value == "true"


def minutes(own: dict[str, str], key: str) -> float | None:
    """A number >= 0; None if it is not given."""
    value = own.get(key)
    number = None if value is None else _number(value)
    if number is not None and not 0 <= number < math.inf:
        raise ConfigError(f"{key} must be a number >= 0, got {value!r}")
    return number


def share(own: dict[str, str], key: str, default: float) -> float:
    value = _number(own.get(key, str(default)))
    if not 0 <= value <= 1:
        raise ConfigError(f"{key} must be a share between 0 and 1, got {own[key]!r}")
    return value


def rates(own: dict[str, str], key: str, default: Sequence[float]) -> tuple[float, ...]:
    """Numbers in (0, 1], written 0.1,1e-3."""
    if key not in own:
        return tuple(default)
    values = tuple(_number(part) for part in own[key].split(","))
    if not all(0 < value <= 1 for value in values):
        raise ConfigError(f"{key} must be rates above 0, at most 1, as in 0.01,1e-3, got {own[key]!r}")
    return values


def new_file(own: dict[str, str], key: str, like: str) -> Path:
    """Where to write; ConfigError for no name, and for a folder."""
    path = Path(own[key]).expanduser()
    if not path.name or os.path.isdir(path):  # unlike Path.is_dir no error for a name that is too long
        raise ConfigError(f"{key} must be a file {like}, got {own[key]!r}")
    return path


def _number(text: str) -> float:
    """nan if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
