"""Two ways compared on the same test images."""

import math
from collections.abc import Sequence
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
    first: Tensor, second: Tensor, *, sizes: Tensor | None = None, matched: bool = False
) -> PairedDifference:
    """error(first) - error(second), and how far it could move with other seeds and other images of the same kind.

    Seeds and images are crossed: every seed judges every image. The variance of the difference is that of the seeds'
    mean errors, for either way, and that of the images' mean differences, less what is in both: each seed's own luck
    with each image. Student's t with Welch's degrees of freedom does justice to few seeds. A bootstrap over seeds and
    images would count that luck up to three times (Owen 2007, "The pigeonhole bootstrap"): of three seeds that differ
    in nothing else 99 % and more of such intervals hold the truth, not 95 %, and are 1.4 times as wide as these. A
    single seed has no spread; the interval is then over images alone, and too narrow.

    Args:
        first, second: (S, N) bool, image n misclassified by seed s; S may differ, N is the same images.
        sizes: (N,), > 0: n is a group of so many images, all of one person, say, which are wrong or right together, and
            first and second hold how many of them are wrong. Groups vary then, and not images.
        matched: run s of both ways is of one kind, on the same training images, say: what runs of a kind have in common
            is no luck of either way, and it is their difference that varies from s to s.

    Raises:
        ValueError: if the images are not the same number, or there are none; sizes that do not fit; matched runs that
            are not as many.
    """
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or 0 in (*first.shape, *second.shape):
        raise ValueError(
            f"need (S, N) and (S', N) with the same images, got {tuple(first.shape)}, {tuple(second.shape)}"
        )
    if matched and len(first) != len(second):
        raise ValueError(f"matched runs must be as many of either way, got {len(first)} and {len(second)}")
    if sizes is None:
        sizes = torch.ones(first.shape[1], device=first.device)
    elif sizes.shape != first.shape[1:] or not (sizes > 0).all():
        raise ValueError(f"sizes must be ({first.shape[1]},) and > 0, got shape {tuple(sizes.shape)}")
    first, second, sizes = first.double(), second.double(), sizes.double()
    a, b = (float(way.sum() / (len(way) * sizes.sum())) for way in (first, second))
    drawn = [first - second] if matched else [first, second]
    half = _half_width(first.mean(dim=0) - second.mean(dim=0), drawn, sizes)
    return PairedDifference(100 * (a - b), 100 * (a - b - half), 100 * (a - b + half))


def _half_width(of_image: Tensor, drawn: Sequence[Tensor], sizes: Tensor) -> float:
    """of_image: (N,) the mean difference; drawn: what is drawn run by run, apart from each other."""
    total = sizes.sum()
    by_image = float((of_image - sizes * of_image.sum() / total).square().sum() / total**2)
    by_seed = uncertain = 0.0
    for way in drawn:
        seeds = len(way)
        if seeds > 1:
            errors = way.sum(dim=1) / total
            of_mean = float(errors.var() / seeds)
            by_seed += of_mean
            uncertain += of_mean**2 / (seeds - 1)
            by_image -= float((way - errors[:, None] * sizes).var(dim=0).sum() / (seeds * total**2))  # the luck
    variance = by_seed + max(by_image, 0.0)
    return math.sqrt(variance) * students_t(variance**2 / uncertain if uncertain > 0 else math.inf)


def students_t(degrees_of_freedom: float) -> float:
    """The 97.5 % quantile of Student's t, to 0.2 %; the degrees of freedom, >= 1, need be neither whole nor finite."""
    if degrees_of_freedom > 1000:
        return NORMAL
    u = torch.linspace(0, math.pi / 2, 50_001, dtype=torch.float64)  # t = sqrt(nu) tan(u): the density is ...
    mass = torch.cumulative_trapezoid(u.cos() ** (degrees_of_freedom - 1), u)  # ... this, half of it above 0
    return math.sqrt(degrees_of_freedom) * math.tan(u[1:][torch.searchsorted(mass, 0.95 * mass[-1])])
