"""Two ways compared on the same test images."""

from typing import NamedTuple

import torch
from torch import Tensor


class PairedDifference(NamedTuple):
    """How much lower the second error is than the first, in points of percent, with a 95 % interval."""

    difference: float
    low: float
    high: float


def paired_difference(first: Tensor, second: Tensor, *, resamples: int = 2000, seed: int = 0) -> PairedDifference:
    """Bootstrap over seeds and images of error(first) - error(second).

    Each resample draws seeds of either way and, once for both, test images, all with replacement: it says how far the
    difference could move with other seeds and other images of the same kind.

    Args:
        first, second: (S, N) bool, image n misclassified by seed s; S may differ, N is the same images.

    Raises:
        ValueError: if the images are not the same number, or there are none.
    """
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or 0 in (*first.shape, *second.shape):
        raise ValueError(
            f"need (S, N) and (S', N) with the same images, got {tuple(first.shape)}, {tuple(second.shape)}"
        )
    generator = torch.Generator().manual_seed(seed)
    images = first.shape[1]
    rates_first, rates_second = first.double(), second.double()
    differences = torch.empty(resamples, dtype=torch.float64)
    for index in range(resamples):
        a = rates_first[torch.randint(len(first), (len(first),), generator=generator)].mean(dim=0)
        b = rates_second[torch.randint(len(second), (len(second),), generator=generator)].mean(dim=0)
        drawn = torch.randint(images, (images,), generator=generator)
        differences[index] = (a - b)[drawn].mean()
    low, high = torch.quantile(differences, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return PairedDifference(100 * float(rates_first.mean() - rates_second.mean()), 100 * low, 100 * high)
