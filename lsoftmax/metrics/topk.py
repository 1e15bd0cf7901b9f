"""The largest of very many numbers that come in parts."""

import torch
from torch import Tensor

from lsoftmax.metrics.ranks import tie

LIMIT = 1 << 22  # numbers kept: with room to collect and to select, 200 MB


class RunningTop:
    """Keeps the `kept` largest values so far. `floor`: what is not above it changes nothing and need not be added."""

    def __init__(self, kept: int, like: Tensor) -> None:
        if kept > LIMIT:
            raise ValueError(
                f"far: {kept:,} impostor scores would have to be kept, at most {LIMIT:,} are; "
                "take a smaller limit or fewer distractors"
            )
        self.floor = -torch.inf
        self._kept = kept
        self._parts = [like.new_empty(0)]
        self._size = 0

    def add(self, values: Tensor) -> None:
        """(E,) values, in any order."""
        self._parts.append(values)
        self._size += len(values)
        if self._size > (2 * self._kept if self.floor > -torch.inf else self._kept):
            self._compact()

    def threshold(self, count: int) -> tuple[float, int]:
        """The (count + 1)-th largest value, count < kept, and how many lie above it, ties (ranks.tie) not counted.

        -inf if there are none so many.
        """
        self._compact()
        values = self._parts[0]
        if count >= len(values):
            return -torch.inf, len(values)
        top = values.topk(count + 1, sorted=False).values
        threshold = top.min()
        return float(threshold), int((top > float(threshold) + tie(top.dtype)).sum())

    def sorted(self) -> Tensor:
        """(<= kept,) the largest values, descending."""
        self._compact()
        return self._parts[0].sort(descending=True).values

    def _compact(self) -> None:
        values = torch.cat(self._parts)
        if len(values) >= self._kept:
            values = values.topk(self._kept, sorted=False).values
            self.floor = float(values.min())
        self._parts, self._size = [values], len(values)
