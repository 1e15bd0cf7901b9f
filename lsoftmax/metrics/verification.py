"""Are two images of the same person? Accuracy over folds, ROC, and rates at a fixed false accept rate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lsoftmax.metrics.arrays import Array, pair_scores
from lsoftmax.metrics.folds import check_deviation, fold_ids, mean_by_fold
from lsoftmax.metrics.roc import Roc, TarAtFar, allowed, roc, tar_at_far
from lsoftmax.metrics.threshold import widest_gap

FAR = (1e-1, 1e-2, 1e-3)


@dataclass(frozen=True)
class Verification:
    """All rates are shares in [0, 1]; a pair is accepted when score > threshold.

    accuracy: mean over the folds of the share of right decisions.
    standard_error: of that mean, std / sqrt(folds); of a single set sqrt(p (1 - p) / pairs).
    std: of the fold accuracies with divisor folds - 1; nan for a single set. (Some evaluators print it, with divisor
        folds, behind the +-: about three times the standard error at ten folds.)
    thresholds, fold_accuracies: one per fold.
    auc, eer, tar_at_far, roc: of all pairs at once; see roc.py for their definitions.
    scores, correct: (P,) float64 and bool, what each pair was decided by, and whether rightly.
    folds: (P,) int64 in 0..K-1, the fold of each pair: thresholds[folds[k]] decided on pair k.
    """

    accuracy: float
    standard_error: float
    std: float
    thresholds: tuple[float, ...]
    fold_accuracies: tuple[float, ...]
    auc: float
    eer: float
    tar_at_far: dict[float, TarAtFar]
    roc: Roc = field(repr=False)
    scores: Tensor = field(repr=False)
    correct: Tensor = field(repr=False)
    folds: Tensor = field(repr=False)

    @property
    def same(self) -> Tensor:
        """(P,) bool: which pairs are of one person."""
        accepted = self.scores > torch.tensor(self.thresholds, dtype=torch.float64)[self.folds]
        return accepted == self.correct


def verify_pairs(scores: Array, same: Array, *, folds: int | Array = 10, far: Sequence[float] = FAR) -> Verification:
    """The protocol of LFW's View 2: each fold is decided with the best threshold of all the others.

    Args:
        scores: (P,) similarities, higher = more alike (negate distances).
        same: (P,) True for pairs of one person.
        folds: a count (contiguous folds, in the order of the pairs) or (P,) fold ids.
        far: limits for tar_at_far, in (0, 1].

    Raises:
        ValueError: for scores that are not finite (names the pair), folds with one kind of pairs, wrong shapes.

    Warns:
        FoldWarning: if the folds look wrong, by their pairs or by the scatter of their accuracies.
    """
    values, labels = pair_scores(scores, same)
    ids = fold_ids(folds, labels)
    order = values.argsort(descending=True)
    ranked, ranked_same, ranked_ids = values[order], labels[order], ids[order]
    thresholds = []
    for fold in range(int(ids.max()) + 1):
        others = ranked_ids != fold
        thresholds.append(widest_gap(ranked[others], ranked_same[others]))
    return summarize(values, labels, ids, thresholds, far)


def summarize(
    scores: Tensor, same: Tensor, ids: Tensor, thresholds: Sequence[float], far: Sequence[float] = FAR
) -> Verification:
    """Decide each pair by its fold's threshold. (P,) float64, (P,) bool, (P,) int64 in 0..K-1, K thresholds."""
    impostors = len(same) - int(same.sum())
    for limit in far:
        allowed(limit, impostors)  # the limits are checked before any arithmetic
    correct = (scores > torch.tensor(thresholds, dtype=torch.float64)[ids]) == same
    accuracies = mean_by_fold(correct.double(), ids)
    accuracy = float(accuracies.mean())
    if len(thresholds) == 1:
        std, error = math.nan, math.sqrt(accuracy * (1 - accuracy) / len(same))
    else:
        std = float(accuracies.std())
        error = std / math.sqrt(len(thresholds))
        check_deviation(accuracies, ids)
    curve = roc(scores, same)
    return Verification(
        accuracy=accuracy,
        standard_error=error,
        std=std,
        thresholds=tuple(thresholds),
        fold_accuracies=tuple(accuracies.tolist()),
        auc=curve.auc,
        eer=curve.eer,
        tar_at_far=tar_at_far(curve, impostors, far),
        roc=curve,
        scores=scores,
        correct=correct,
        folds=ids,
    )


def best_threshold(scores: Array, same: Array) -> float:
    """The threshold with the most right decisions on these pairs; its rule for ties is widest_gap's.

    scores and same, (P,), and their errors as in `verify_pairs`.
    """
    values, labels = pair_scores(scores, same)
    order = values.argsort(descending=True)
    return widest_gap(values[order], labels[order])


def verify_at(scores: Array, same: Array, threshold: float, *, far: Sequence[float] = FAR) -> Verification:
    """One set judged with a threshold chosen elsewhere: LFW's View 1, or any development and test set.

    scores, same, (P,), and far, and their errors as in `verify_pairs`; ValueError for a threshold that is nan.
    """
    if math.isnan(threshold):
        raise ValueError("threshold is nan: choose it on other pairs with best_threshold")
    values, labels = pair_scores(scores, same)
    return summarize(values, labels, torch.zeros(len(labels), dtype=torch.int64), [float(threshold)], far)
