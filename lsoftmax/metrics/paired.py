"""Two ways compared on the same test images."""

import math
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

NORMAL = NormalDist().inv_cdf(0.975)


class PairedDifference(NamedTuple):
    """How much lower the second error is than the first, in points of percent, with a 95 % interval."""

    difference: float
    low: float
    high: float


def paired_difference(
    first: Tensor, second: Tensor, *, sizes: Tensor | None = None, resamples: int = 2000, seed: int = 0
) -> PairedDifference:
    """Bootstrap over seeds and images of error(first) - error(second).

    Each resample draws seeds of either way and, once for both, test images, all with replacement: it says how far the
    difference could move with other seeds and other images of the same kind. Drawn from S seeds, a mean varies too
    little by sqrt((S - 1) / S), and from so few no quantile is a normal distribution's: both are made good, the second
    by Student's t with Welch's degrees of freedom. A single seed has no spread; the interval is then over images alone,
    and too narrow.

    Args:
        first, second: (S, N) bool, image n misclassified by seed s; S may differ, N is the same images.
        sizes: (N,), > 0: n is a group of so many images, all of one person, say, which are wrong or right together, and
            first and second hold how many of them are wrong. Groups are drawn then, and not images.

    Raises:
        ValueError: if the images are not the same number, or there are none; sizes that do not fit.
    """
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or 0 in (*first.shape, *second.shape):
        raise ValueError(
            f"need (S, N) and (S', N) with the same images, got {tuple(first.shape)}, {tuple(second.shape)}"
        )
    if sizes is None:
        sizes = torch.ones(first.shape[1])
    elif sizes.shape != first.shape[1:] or not (sizes > 0).all():
        raise ValueError(f"sizes must be ({first.shape[1]},) and > 0, got shape {tuple(sizes.shape)}")
    generator = torch.Generator().manual_seed(seed)
    first, second, sizes = first.double(), second.double(), sizes.double()
    # Images that every run judges alike are one kind, and drawing images is drawing how many there are of each kind.
    kinds, counts = torch.unique(torch.cat([sizes[None], first, second]).T, dim=0, return_counts=True)
    drawn = _multinomial(counts, resamples, generator) @ kinds
    errors = drawn[:, 1:] / drawn[:, :1]  # (resamples, S + S')
    a = _draw_seeds(errors[:, : len(first)], generator)
    b = _draw_seeds(errors[:, len(first) :], generator)
    rates = [way.sum() / (len(way) * sizes.sum()) for way in (first, second)]
    difference = rates[0] - rates[1]
    off = torch.quantile(a - b, torch.tensor([0.025, 0.975], dtype=torch.float64)) - difference
    low, high = (difference + off * students_t(_degrees_of_freedom(first, second, sizes)) / NORMAL).tolist()
    return PairedDifference(100 * float(difference), 100 * low, 100 * high)


def students_t(degrees_of_freedom: float) -> float:
    """The 97.5 % quantile of Student's t, to 0.2 %; the degrees of freedom, >= 1, need be neither whole nor finite."""
    if degrees_of_freedom > 1000:
        return NORMAL
    u = torch.linspace(0, math.pi / 2, 50_001, dtype=torch.float64)  # t = sqrt(nu) tan(u): the density is ...
    mass = torch.cumulative_trapezoid(u.cos() ** (degrees_of_freedom - 1), u)  # ... this, half of it above 0
    return math.sqrt(degrees_of_freedom) * math.tan(u[1:][torch.searchsorted(mass, 0.95 * mass[-1])])


def _degrees_of_freedom(first: Tensor, second: Tensor, sizes: Tensor) -> float:
    """Welch's, of a difference that varies by the seeds of either way and by the images, of which there are many."""
    of_group = first.mean(dim=0) - second.mean(dim=0)
    by_image = (of_group - sizes * of_group.sum() / sizes.sum()).square().sum() / sizes.sum() ** 2
    total, uncertain = float(by_image), 0.0
    for way in (first, second):
        if len(way) > 1:
            of_mean = float((way.sum(dim=1) / sizes.sum()).var() / len(way))
            total += of_mean
            uncertain += of_mean**2 / (len(way) - 1)
    return total**2 / uncertain if uncertain > 0 else math.inf


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
    """(R, S) -> (R,): each row's mean over S of its entries, drawn with replacement and spread as S more would be."""
    seeds = errors.shape[1]
    drawn = errors.gather(1, torch.randint(seeds, errors.shape, generator=generator)).mean(dim=1)
    mean = errors.mean(dim=1)
    return mean + (drawn - mean) * math.sqrt(seeds / max(seeds - 1, 1))
