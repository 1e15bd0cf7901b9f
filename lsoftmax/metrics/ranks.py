"""How many strangers come before each mate: exact counts from blocks of scores that are not kept."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lsoftmax.autocast import no_autocast

CHUNK = 32  # scores whose maximum decides whether they are looked at
SORTED = 512  # numpy sorts so many floats in registers: a sixth of the time of 1,024, by score
DENSE = 0.1  # from this share of distractors above a mate on, picking them is no longer the fastest
FEW = 6  # such mates of one probe are compared with all scores one by one; of more, sorting is faster
ROWS = 256  # of probes that are sorted together: they stay in the cache


def tie(dtype: torch.dtype) -> float:
    """Cosines closer than this are ties: the product rounds equal vectors differently at different places."""
    return 1e-14 if dtype == torch.float64 else 5e-7


class Mates:
    """The scores of the probes of one identity against each other.

    scores: (P, M) ascending along each row, inf where a probe has fewer than M mates.
    genuine: (G,) the scores of all unordered pairs of mates.
    """

    def __init__(self, probes: Tensor, ids: Sequence[Any]) -> None:
        members: dict[Any, list[int]] = {}
        for index, identity in enumerate(ids):
            members.setdefault(identity, []).append(index)
        groups = [group for group in members.values() if len(group) > 1]
        if not groups:
            raise ValueError("no identity has two probes: there is nothing to find among the distractors")
        self.scores = probes.new_full((len(probes), max(map(len, groups)) - 1), torch.inf)
        genuine = []
        for group in groups:
            where = torch.tensor(group, device=probes.device)
            with no_autocast(probes):
                among = probes[where] @ probes[where].T
            above, right = torch.triu_indices(len(group), len(group), 1, device=probes.device)
            genuine.append(among[above, right])
            others = ~torch.eye(len(group), dtype=torch.bool, device=probes.device)
            self.scores[where, : len(group) - 1] = among[others].view(len(group), -1).sort(dim=1).values
        self.genuine = torch.cat(genuine)

    def share_above(self, threshold: float) -> float:
        """Share of the genuine pairs that score higher, and not by rounding alone."""
        return float((self.genuine > threshold + tie(self.genuine.dtype)).double().mean())

    def shares_above(self, thresholds: Tensor) -> Tensor:
        """(T,) float64: the same for (T,) thresholds."""
        ascending = self.genuine.sort().values
        below = torch.searchsorted(ascending, thresholds.to(ascending) + tie(ascending.dtype), right=True)
        return 1 - below.double() / len(ascending)


class MateRanks:
    """Counts, block by block, the distractors that score as high as each mate, or higher.

    Three ways to one result. Mates that score above nearly all distractors: the few higher scores are picked and placed
    among them (`_place`). A probe's few other mates, as a bad image among good ones makes them: each is compared with
    all scores (`_compare`). A probe with many such mates: the scores are sorted in short runs and every mate is looked
    for in each (`_sort`). Which way a mate goes follows from what was counted so far.
    """

    def __init__(self, mates: Mates) -> None:
        scores = mates.scores
        margin = tie(scores.dtype)
        self._there = torch.isfinite(scores)
        self._from, self._to = scores - margin, scores + margin  # a distractor ties strictly between the two
        self._count = torch.zeros(scores.shape, dtype=torch.int64, device=scores.device)
        self._tied = torch.zeros_like(self._there)
        self._seen = 0

    def add(self, scores: Tensor, distractors: int, floor: float) -> Tensor:
        """Count a block; return its scores above `floor`, which have to be picked anyhow.

        Args:
            scores: (P, W), W a multiple of CHUNK, -inf beyond the block's distractors. Overwritten.
        """
        # Ascending mates have descending counts: the heavy ones are a row's first.
        heavy = (self._there & (self._count >= DENSE * self._seen)).sum(dim=1)
        dense = heavy > FEW
        lowest = torch.nn.functional.pad(self._from, (0, 1), value=torch.inf).gather(1, heavy[:, None])[:, 0]
        own_floor = torch.where(dense, torch.inf, lowest)
        rows, values = _above(scores, own_floor.clamp(max=floor))
        placed = values > own_floor[rows]
        self._place(rows[placed], values[placed], heavy)
        for part in _parts(~dense & (heavy > 0)):
            self._compare(part, scores[part], heavy[part])
        for part in _parts(dense):
            self._sort(part, scores[part])
        self._seen += distractors
        return values[values > floor]

    def ranks(self) -> tuple[Tensor, int]:
        """(T,) int64 ranks of all trials, counted from 1, and how many trials are tied with a distractor."""
        return self._count[self._there] + 1, int(self._tied[self._there].sum())

    def _place(self, rows: Tensor, values: Tensor, heavy: Tensor) -> None:
        """(E,) scores, each of the probe `rows`; mates before heavy[row] are counted elsewhere."""
        count, width = self._from.shape
        above = _number_below(self._from, rows, values)  # the mates 0..above - 1 of the row are reached by the score
        reached = _histogram(rows, above, count, width)
        light = torch.arange(width, device=heavy.device) >= heavy[:, None]
        self._count += reached.flip(1).cumsum(1).flip(1)[:, 1:] * light
        # Tied: the mates from the first with value <= to on. Most scores tie with none and are dropped at once.
        near = values < self._to[rows, above - 1]
        rows, values, above = rows[near], values[near], above[near]
        begin = _number_below(self._to, rows, values)
        change = _histogram(rows, begin, count, width) - _histogram(rows, above, count, width)
        self._tied |= change.cumsum(1)[:, :-1] > 0

    def _compare(self, rows: Tensor, scores: Tensor, heavy: Tensor) -> None:
        """(R, W) scores of the probes `rows`, of which the first heavy[r] mates are counted."""
        for mate in range(int(heavy.max())):
            with_ties = _number_set(scores > self._from[rows, mate, None])
            without = _number_set(scores >= self._to[rows, mate, None])
            counted = mate < heavy
            self._count[rows, mate] += with_ties * counted
            self._tied[rows, mate] |= (with_ties > without) & counted

    def _sort(self, rows: Tensor, scores: Tensor) -> None:
        """(R, W) scores of the probes `rows`."""
        for run in torch.split(scores, SORTED, dim=1):
            ascending = _sorted(run.contiguous())
            position = torch.searchsorted(ascending, self._from[rows], right=True)
            self._count[rows] += run.shape[1] - position
            first = ascending.gather(1, position.clamp(max=run.shape[1] - 1))  # the lowest that reaches the mate
            self._tied[rows] |= (position < run.shape[1]) & (first < self._to[rows])


def _above(scores: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and values of what is above the row's floor, (E,) each: (P, W) scores, (P,) floors."""
    chunks = scores.view(len(scores), -1, CHUNK)
    row, chunk = (chunks.amax(dim=2) > floor[:, None]).nonzero(as_tuple=True)
    picked = chunks[row, chunk]
    above = picked > floor[row, None]
    return row.repeat_interleave(above.sum(dim=1)), picked[above]


def _parts(flags: Tensor) -> Sequence[Tensor]:
    """The indices that are set, ROWS at a time."""
    indices = flags.nonzero().flatten()
    return torch.split(indices, ROWS) if len(indices) else ()


def _number_set(flags: Tensor) -> Tensor:
    """(R,) int64: how many of each row's (R, W) are set, W a multiple of 8. Eight are added at a time, as bytes of a
    word, at most 255 to a byte: summing bools one by one takes fifty times as long."""
    words = torch.split(flags.view(torch.int64), 255, dim=1)
    return torch.stack([part.sum(dim=1, keepdim=True).view(torch.uint8).sum(dim=1) for part in words]).sum(dim=0)


def _number_below(limits: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """(E,): how many of limits[row] (ascending) are < value. Bisection of all at once."""
    width = limits.shape[1]
    flat, start = limits.flatten(), rows * width
    found = torch.zeros_like(rows)
    step = 1 << (width.bit_length() - 1)
    while step:
        tried = found + step
        below = (tried <= width) & (flat[start + tried.clamp(max=width) - 1] < values)
        found = torch.where(below, tried, found)
        step //= 2
    return found


def _histogram(rows: Tensor, columns: Tensor, count: int, width: int) -> Tensor:
    """(count, width + 1) int64: how often each cell occurs."""
    cells = torch.bincount(rows * (width + 1) + columns, minlength=count * (width + 1))
    return cells.view(count, width + 1)


def _sorted(values: Tensor) -> Tensor:
    """Each row ascending, in place if it can be: numpy does it ten times as fast as torch, on a CPU."""
    if values.device.type != "cpu":
        return values.sort(dim=1).values
    values.numpy().sort(axis=1)
    return values
