"""All pairs of images: how well a threshold on the cosine of features tells the same class from another."""

import torch
from torch import Tensor

from lsoftmax.autocast import no_autocast
from lsoftmax.losses.unit import unit_rows
from lsoftmax.metrics.arrays import check_features_with_labels
from lsoftmax.metrics.roc import Roc

BLOCK = 2**23  # cosines that are held at a time
BINS = 20_000  # of cosines from -1 to 1: two closer than 1e-4 are taken for equal


@torch.no_grad()
def all_pairs_roc(features: Tensor, labels: Tensor) -> Roc:
    """The ROC over the N (N - 1) / 2 pairs, a pair accepted when its cosine lies above the threshold.

    Pairs are not kept, they are counted in bins, whose lower edges are the thresholds. A zero vector
    has cosine 0 to all.

    Args:
        features: (N, D), floating; half precision is compared in float32.
        labels: (N,), whole numbers.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, or only one of the two kinds of pairs.
    """
    check_features_with_labels(features, labels)
    unit = unit_rows(features)
    counts = torch.zeros(2 * BINS, dtype=torch.int64, device=unit.device)  # of both kinds in turn
    height = max(1, BLOCK // max(1, len(unit)))
    for first in range(0, len(unit), height):
        rows = slice(first, first + height)
        with no_autocast(unit):
            scores = unit[rows] @ unit[first:].T
        bins = ((scores + 1) * (BINS / 2)).long().clamp_(0, BINS - 1)
        kinds = 2 * bins + (labels[rows, None] == labels[None, first:])
        later = torch.ones_like(kinds, dtype=torch.bool).triu_(1)  # each pair once
        counts += torch.bincount(kinds[later], minlength=2 * BINS)
    strangers, mates = counts.view(BINS, 2).cpu().unbind(1)
    if not mates.any() or not strangers.any():
        kind = "one class" if mates.any() else "different classes"
        raise ValueError(f"all {int(counts.sum())} pairs are of {kind}: a ROC needs both kinds")
    there = (mates + strangers).nonzero().flatten().flip(0)  # highest first, as a curve begins
    zero = torch.zeros(1, dtype=torch.float64)
    far, tar = (torch.cat([zero, of[there].cumsum(0).double() / of.sum()]) for of in (strangers, mates))
    return Roc(far, tar, torch.cat([there.double() * (2 / BINS) - 1, zero - torch.inf]))
