"""What a trained network says of image pairs, as result.json has it."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lsoftmax.engine.evaluation import Batches, evaluating
from lsoftmax.metrics import Verification, best_threshold, verify_at, verify_pairs
from lsoftmax.metrics.embeddings import cosine, verify_embeddings
from lsoftmax.metrics.roc import thinned

PCA = (64, 128, 256)
Columns = tuple[Tensor, Tensor, Tensor]  # left, right (P,) int64 rows of the embeddings; same (P,) bool


@torch.no_grad()
def embed(backbone: nn.Module, batches: Batches, between: Callable[[], object] = lambda: None) -> Tensor:
    """(N, D) float32 on the CPU: the features in evaluation mode. `between` is called before each batch."""
    features = []
    with evaluating(backbone):
        for images, _ in batches():
            between()
            features.append(backbone(images).float().cpu())
    return torch.cat(features)


def verify(embeddings: Tensor, pairs: Columns, *, tune: Columns | None, folds: Tensor | None) -> Verification:
    """By the cosine. The threshold comes from the pairs of `tune`; without it, for each fold from the others."""
    scores, same = _scored(embeddings, pairs)
    if tune is None:
        assert folds is not None
        return verify_pairs(scores, same, folds=folds)
    return verify_at(scores, same, best_threshold(*_scored(embeddings, tune)))


def after_pca(embeddings: Tensor, pairs: Columns, *, folds: Tensor) -> dict[str, dict[str, float]]:
    """{number of axes: accuracy and its standard error} of the same pairs on principal axes of the other folds' images.

    The paper reduces its features so, to a size that it does not say: of those of `PCA` that are below D and the images
    there are. None at all if a feature is zero, which has no direction.
    """
    if not embeddings.any(dim=1).all():
        return {}
    left, right, same = pairs
    images = 2 * int(len(folds) - folds.bincount().max())  # of the fewest training folds
    found = {}
    for size in PCA:
        if size >= embeddings.shape[1] or size > images:
            continue
        v = verify_embeddings(embeddings[left], embeddings[right], same, folds=folds, pca=size)
        found[str(size)] = {"accuracy": v.accuracy, "standard_error": v.standard_error}
    return found


def describe(verification: Verification) -> dict[str, Any]:
    """Plain numbers. std: null of a single set of pairs, which has no folds to scatter."""
    v = verification
    curve = thinned(v.roc, impostors=int((~v.same).sum()))
    return {
        "pairs": len(v.correct),
        "accuracy": v.accuracy,
        "standard_error": v.standard_error,
        "std": None if math.isnan(v.std) else v.std,
        "thresholds": list(v.thresholds),
        "auc": v.auc,
        "eer": v.eer,
        "tar_at_far": [{"far": far, "tar": t.tar, "realised_far": t.realised_far} for far, t in v.tar_at_far.items()],
        "roc": {name: rates.tolist() for name, rates in zip(("far", "tar"), curve, strict=True)},
        "wrong_pairs": (~v.correct).nonzero().flatten().tolist(),
    }


def _scored(embeddings: Tensor, pairs: Columns) -> tuple[Tensor, Tensor]:
    left, right, same = pairs
    return cosine(embeddings[left], embeddings[right]), same
