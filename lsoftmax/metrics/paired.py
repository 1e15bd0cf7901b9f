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
    runs, images = len(first), first.shape[1]
    # Images that every run judges alike are one kind, and drawing images is drawing how many there are of each kind.
    kinds, counts = torch.unique(torch.cat([first, second]).T, dim=0, return_counts=True)
    errors = _multinomial(counts, resamples, generator) @ kinds.double() / images  # (resamples, S + S')
    a = _draw_seeds(errors[:, :runs], generator)
    b = _draw_seeds(errors[:, runs:], generator)
    low, high = torch.quantile(a - b, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    difference = float(first.double().mean() - second.double().mean())
    return PairedDifference(100 * difference, 100 * low, 100 * high)


def _multinomial(counts: Tensor, resamples: int, generator: torch.Generator) -> Tensor:
    """(resamples, K) of so many things drawn with replacement: how many of each kind. One binomial after another."""
    left = torch.full((resamples,), float(counts.sum()), dtype=torch.float64)
    remaining = counts.flip(0).cumsum(0).flip(0).double()
    drawn = []
    for share in (counts / remaining).tolist():
        drawn.append(torch.binomial(left, torch.full_like(left, share), generator=generator))
        left = left - drawn[-1]
    return torch.stack(drawn, dim=1)


def _draw_seeds(errors: Tensor, generator: torch.Generator) -> Tensor:
    """(R, S) -> (R,): each row's mean over S of its entries, drawn with replacement."""
    return errors.gather(1, torch.randint(errors.shape[1], errors.shape, generator=generator)).mean(dim=1)
