"""A column of Table 1 with the user's options applied: a column again, so that the builder need not know of them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from models.checks import check_choice, check_counts
from models.table1 import TABLE1, Column

ACTIVATIONS = ("prelu", "relu")
AFTER_FC = ("bn_prelu", "bn", "none")


def variant(
    name: str,
    *,
    width: float = 1.0,
    activation: str | None = None,
    after_fc: str | None = None,
    filters: Sequence[int] | None = None,
) -> Column:
    """The column `name` with other `filters`, scaled by `width`, with another activation or end; None keeps its own.

    Raises ValueError for an unknown name or choice, a width that is not positive, filters that do not fit the groups.
    """
    check_choice("name", name, tuple(TABLE1))
    column = TABLE1[name]
    activation = column.activation if activation is None else activation
    after_fc = column.after_fc if after_fc is None else after_fc
    check_choice("activation", activation, ACTIVATIONS)
    check_choice("after_fc", after_fc, AFTER_FC)
    if filters is not None:
        check_counts("filters", filters, tuple(column.groups))
    if not 0 < width < math.inf:
        raise ValueError(f"width={width}: must be a number > 0; 1 is the paper's network")
    return replace(_resized(column, filters, width), activation=activation, after_fc=after_fc)


def _resized(column: Column, filters: Sequence[int] | None, width: float) -> Column:
    def scaled(count: int) -> int:
        return max(1, round(count * width))

    counts = [count for _, count, _ in column.groups.values()] if filters is None else filters
    groups: dict[str, Any] = {
        name: (kernel, scaled(count), convs)
        for (name, (kernel, _, convs)), count in zip(column.groups.items(), counts, strict=True)
    }
    fc = column.fc if column.fc == 2 else scaled(column.fc)  # two units are there to be plotted: a plane stays a plane
    return replace(column, fc=fc, **groups)
