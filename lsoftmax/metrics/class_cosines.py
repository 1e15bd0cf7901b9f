"""How close the features of a class are to each other, and to those of other classes."""

from math import nan
from typing import NamedTuple

import torch
from torch import Tensor

from lsoftmax.losses.unit import unit_rows

CLASSES_AT_A_TIME = 8_192


class ClassCosines(NamedTuple):
    """Mean cosines over all pairs of two different samples; nan where there is no such pair."""

    same_class: float
    other_classes: float


class CosineSums:
    """Adds up features batch by batch: a pass over a set needs one vector of each class, not the set's features.

    With u the features at length 1 and s_c their sum over the n_c samples of class c, the cosines of all pairs within c
    add up to (|s_c|^2 - n_c) / 2, those of all pairs at all to (|sum of s_c|^2 - N) / 2.

    Args:
        num_classes: C; 2 or more to have pairs of different classes.
        feature_size: D.
        device: where the features are; nothing waits for it before `compute`.
    """

    def __init__(self, num_classes: int, feature_size: int, device: torch.device | str = "cpu") -> None:
        self._sums = torch.zeros(num_classes, feature_size, dtype=torch.float32, device=device)
        self._lengths = torch.zeros_like(self._sums[:, 0])  # of u, squared: n_c, less features of length 0
        self._counts = torch.zeros_like(self._lengths)

    def update(self, features: Tensor, labels: Tensor) -> None:
        """(N, D) floating, (N,) int64 in 0..C-1. A feature of length 0 has cosine 0 with everything."""
        unit = unit_rows(features).float()
        self._sums.index_add_(0, labels, unit)
        self._lengths.index_add_(0, labels, unit.square().sum(dim=1))
        self._counts.index_add_(0, labels, torch.ones_like(labels, dtype=self._counts.dtype))

    def compute(self) -> ClassCosines:
        """Of what was added so far."""
        lengths, counts = (x.cpu().double() for x in (self._lengths, self._counts))
        within, total = -lengths.sum(), torch.zeros(self._sums.shape[1], dtype=torch.float64)
        for block in torch.split(self._sums, CLASSES_AT_A_TIME):  # of a million, double precision would take gigabytes
            sums = block.cpu().double()
            within, total = within + sums.square().sum(), total + sums.sum(dim=0)
        everywhere = total.square().sum() - lengths.sum()
        pairs_within = (counts * (counts - 1)).sum()
        pairs_across = counts.sum() * (counts.sum() - 1) - pairs_within
        return ClassCosines(_mean(within, pairs_within), _mean(everywhere - within, pairs_across))


def _mean(total: Tensor, count: Tensor) -> float:
    return float(total / count) if count else nan
