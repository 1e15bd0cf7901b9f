"""What a trained network says of image pairs, as result.json has it."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lsoftmax.engine.evaluation import Batches, evaluating
from lsoftmax.metrics import Verification, best_threshold, verify_at, verify_pairs
from lsoftmax.metrics.embeddings import cosine
from lsoftmax.metrics.roc import thinned

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
