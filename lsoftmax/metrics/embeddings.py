"""Verification from the embeddings of the pairs; what is fitted to them is fitted inside the training folds."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lsoftmax.metrics.arrays import Array, embeddings, pair_labels
from lsoftmax.metrics.folds import fold_ids
from lsoftmax.metrics.threshold import widest_gap
from lsoftmax.metrics.verification import FAR, Verification, summarize, verify_pairs


def verify_embeddings(
    left: Array,
    right: Array,
    same: Array,
    *,
    folds: int | Array = 10,
    center: bool = False,
    pca: int = 0,
    far: Sequence[float] = FAR,
) -> Verification:
    """verify_pairs on the cosine of embeddings, in float64.

    With `center` the mean over both images of the training folds' pairs is subtracted first; with `pca` > 0 the
    embeddings are moreover projected on that many principal axes of the same images (which subtracts the mean too).
    Fold k's threshold is then chosen on the training pairs as the transformation of fold k maps them, and ROC, AUC,
    EER and TAR are of all pairs, each scored by the transformation of its own fold. A vector that the transformation
    maps to zero has cosine 0.

    Args:
        left, right: (P, D) floats; pair k is left[k], right[k].
        same, folds, far: as for verify_pairs.

    Raises:
        ValueError: also for rows that are zero or not finite, and pca outside 0..min(D, training images).
    """
    labels = pair_labels(same)
    first, second = (embeddings(side, name).cpu().double() for side, name in ((left, "left"), (right, "right")))
    if first.shape != second.shape or len(first) != len(labels):
        shapes = f"{tuple(first.shape)}, {tuple(second.shape)} for {len(labels)} pairs"
        raise ValueError(f"left and right must both be (P, D), got {shapes}")
    if not center and pca == 0:
        return verify_pairs(cosine(first, second), labels, folds=folds, far=far)

    ids = fold_ids(folds, labels)
    scores, thresholds = torch.empty_like(first[:, 0]), []
    for fold in range(int(ids.max()) + 1):
        others = ids != fold
        mean, axes = _fit(torch.cat([first[others], second[others]]), pca)
        mapped = [side - mean if axes is None else (side - mean) @ axes for side in (first, second)]
        own = cosine(*mapped)
        scores[~others] = own[~others]
        order = own[others].argsort(descending=True)
        thresholds.append(widest_gap(own[others][order], labels[others][order]))
    return summarize(scores, labels, ids, thresholds, far)


def cosine(left: Tensor, right: Tensor) -> Tensor:
    """(P,) float64 cosines of the rows of two (P, D) tensors; 0 where a row is zero."""
    unit_left, unit_right = (torch.nn.functional.normalize(side.double(), dim=1, eps=1e-300) for side in (left, right))
    return (unit_left * unit_right).sum(dim=1)


def _fit(features: Tensor, pca: int) -> tuple[Tensor, Tensor | None]:
    """(D,) mean and (D, pca) principal axes, or None, of (N, D) features."""
    if not 0 <= pca <= min(features.shape):
        raise ValueError(f"pca must lie in 0..{min(features.shape)} (width and training images), got {pca}")
    mean = features.mean(dim=0)
    if pca == 0:
        return mean, None
    centred = features - mean
    _, axes = torch.linalg.eigh(centred.T @ centred)  # eigenvalues ascend
    return mean, axes[:, -pca:]
