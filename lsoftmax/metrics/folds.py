"""Folds of a cross-validation over pairs, and what looks wrong with them."""

import math
import warnings

import torch
from torch import Tensor

from lsoftmax.metrics.arrays import Array, as_tensor


class FoldWarning(UserWarning):
    """The folds do not look like those of the protocol."""


def fold_ids(folds: int | Array, same: Tensor) -> Tensor:
    """(P,) int64 in 0..K-1 for a count (contiguous folds, as KFold deals them without shuffling) or (P,) given ids.

    Raises:
        ValueError: for fewer than two folds or more than pairs, ids that are no integers or too few, and a fold with
            pairs of one kind only, on which no accuracy means anything.

    Warns:
        FoldWarning: if half of all pairs match, but in some fold fewer than 40 or more than 60 %, and that
            not by chance.
    """
    if isinstance(folds, int):
        if not 2 <= folds <= len(same):
            raise ValueError(f"folds must lie in 2..{len(same)} (the pairs), got {folds}")
        small, larger = divmod(len(same), folds)
        sizes = torch.tensor([small + 1] * larger + [small] * (folds - larger))
        ids = torch.repeat_interleave(torch.arange(folds), sizes)
    else:
        given = as_tensor(folds).cpu()
        if given.shape != same.shape or given.is_floating_point():
            raise ValueError(
                f"folds must be a count or {tuple(same.shape)} integers, got {given.dtype} {tuple(given.shape)}"
            )
        ids = torch.unique(given, return_inverse=True)[1]
        if int(ids.max()) == 0:
            raise ValueError("folds holds a single fold: the threshold must come from other folds")
    shares = mean_by_fold(same.double(), ids)
    for fold in ((shares == 0) | (shares == 1)).nonzero().flatten().tolist():
        kind = "matched" if shares[fold] else "mismatched"
        raise ValueError(
            f"fold {fold} holds {kind} pairs only: deal both kinds to every fold, or give the folds of the protocol"
        )
    deviations = (shares - 0.5).abs()
    by_chance = 1.5 / torch.bincount(ids).sqrt()  # three standard deviations: small folds scatter
    if 0.45 <= float(same.double().mean()) <= 0.55 and (deviations > by_chance.clamp(min=0.1)).any():
        odd = int((deviations - by_chance.clamp(min=0.1)).argmax())
        warnings.warn(
            f"{100 * float(shares[odd]):.0f} % of the pairs of fold {odd} match, of all pairs half: wrong folds?",
            FoldWarning,
            stacklevel=3,
        )
    return ids


def mean_by_fold(values: Tensor, ids: Tensor) -> Tensor:
    """(K,) float64 means of the (P,) values over each fold."""
    return torch.bincount(ids, weights=values) / torch.bincount(ids)


def check_deviation(accuracies: Tensor, ids: Tensor) -> None:
    """Warns of (K,) fold accuracies that scatter far more than draws of equal pairs would.

    The sum of squared standardised deviations is chi-square with K - 1 degrees of freedom for folds alike; the warning
    comes six of its standard deviations above the mean: at ten folds, where the scatter is twice the expected one.
    """
    sizes = torch.bincount(ids).double()
    mean = float((accuracies * sizes).sum() / sizes.sum())
    if mean in (0.0, 1.0):
        return
    freedom = len(accuracies) - 1
    squares = float((sizes * (accuracies - mean) ** 2).sum()) / (mean * (1 - mean))
    times = math.sqrt(squares / freedom)
    if squares > freedom + 6 * math.sqrt(2 * freedom):
        warnings.warn(
            f"fold accuracies scatter {times:.1f} times as much as chance explains: wrong folds?",
            FoldWarning,
            stacklevel=3,
        )
