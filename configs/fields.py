"""A field of the schema: what it accepts, as a test of the typed value and in words for the error message."""

import math
import re
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Any

MISSING = "???"  # OmegaConf's mark for a value that must be given

LARGEST = 2**31 - 1  # of whole numbers: what every library takes as a count or a size
FLOAT32_LARGEST = (2 - 2**-23) * 2.0**127


def option(accepted: str, check: Callable[[Any], bool] = lambda value: True, most: int | None = None) -> Any:
    """A field: what it accepts, in words for the error message and as a test of the typed value.

    most: of the value, or of each in a list. It has a message of its own: almost nobody needs to be told.
    """
    return field(default=MISSING, metadata={"accepted": accepted, "check": check, "most": most})


def whole(least: int, most: int = LARGEST) -> dict[str, Any]:
    return {"accepted": f"an integer >= {least}", "check": lambda value: value >= least, "most": most}


def number(least: float, *, or_inf: bool = False) -> dict[str, Any]:
    return {
        "accepted": f"a number >= {least:g}",
        "check": lambda value: least <= value < math.inf or (or_inf and value == math.inf),
    }


def above_zero(most: float = math.inf) -> dict[str, Any]:
    accepted = "a number > 0" + ("" if most == math.inf else f" and <= {most:g}")
    return {"accepted": accepted, "check": lambda value: 0 < value <= most and value < math.inf}


def folder(what: str = "a folder") -> dict[str, Any]:
    return {"accepted": what, "check": _is_path}


def choice(*names: str) -> dict[str, Any]:
    return {"accepted": f"one of {', '.join(names)}", "check": lambda value: value in names}


def maybe(accepted: dict[str, Any]) -> dict[str, Any]:
    check = accepted["check"]
    return {
        **accepted,
        "accepted": f"{accepted['accepted']} or null",
        "check": lambda value: value is None or check(value),
    }


def flag() -> dict[str, Any]:
    return {"accepted": "true or false", "check": lambda value: True}


def increasing(values: list[int]) -> bool:
    return all(before < after for before, after in zip([0, *values], values, strict=False))


def _is_path(value: str) -> bool:
    try:
        return value != "" and Path(value).expanduser() is not None
    except RuntimeError:  # ~nobody
        return False


def is_mean(value: Any) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return abs(value) <= FLOAT32_LARGEST
    return value in ("image", "channel")


def are_names(values: list[str]) -> bool:
    distinct = len(set(values)) == len(values) and "held_out" not in values  # that is the people held out of training
    return distinct and all(re.fullmatch(r"\w[\w-]*", name) for name in values)
