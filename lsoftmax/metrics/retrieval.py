"""Images that look for others of their class by the cosine of features: how far features carry to classes unseen."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lsoftmax.autocast import no_autocast
from lsoftmax.losses.unit import unit_rows
from lsoftmax.metrics.arrays import check_features_with_labels
from lsoftmax.metrics.ranks import tie

ROWS = 1024  # queries whose scores are held at a time


@dataclass(frozen=True, eq=False)
class Retrieval:
    """What `retrieve` found.

    recall_at_1: share of the queries whose nearest other image is of their class.
    map_at_r: mean average precision at R, R the number of a query's mates (Musgrave et al. 2020, "A Metric Learning
        Reality Check"): the mean over the ranks i <= R of the precision at i where rank i is a mate, else 0.
    queries: how many images have a mate; hits: (N,) bool on the CPU, the nearest is a mate.
    """

    recall_at_1: float
    map_at_r: float
    queries: int
    hits: Tensor


@torch.no_grad()
def retrieve(features: Tensor, labels: Tensor) -> Retrieval:
    """Each image looks for its mates, the others of its class, among all other images.

    A mate that ties with a stranger comes after it: features that have collapsed find nothing. A zero vector has
    cosine 0 to all.

    Args:
        features: (N, D), floating; half precision is compared in float32.
        labels: (N,), whole numbers.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, or no class with two images.
    """
    check_features_with_labels(features, labels)
    _, classes, sizes = torch.unique(labels, return_inverse=True, return_counts=True)
    mates = sizes[classes] - 1
    most = int(mates.max()) if len(mates) else 0
    if most == 0:
        raise ValueError("no class has two images: there is nothing to find")
    unit = unit_rows(features)
    hits = torch.zeros(len(labels), dtype=torch.bool)
    total = 0.0
    for first in range(0, len(labels), ROWS):
        rows = slice(first, first + ROWS)
        found = _mates_by_rank(unit, classes, rows, most)  # (B, most)
        within = torch.arange(most, device=found.device) < mates[rows, None]  # ranks up to each query's own R
        precision = found.cumsum(1) / torch.arange(1, most + 1, device=found.device)
        average = (precision * (found & within)).sum(1) / mates[rows].clamp(min=1)
        total += float(average.double().sum())
        hits[rows] = found[:, 0].cpu()
    queries = int((mates > 0).sum())
    return Retrieval(int(hits.sum()) / queries, total / queries, queries, hits)


def _mates_by_rank(unit: Tensor, classes: Tensor, rows: slice, most: int) -> Tensor:
    """(B, most) bool: whether the image at each rank is of the query's class."""
    with no_autocast(unit):
        scores = unit[rows] @ unit.T
    same = classes[rows, None] == classes
    scores -= tie(scores.dtype) * same  # strangers first
    itself = torch.arange(len(unit), device=unit.device)[rows]
    scores[torch.arange(len(itself), device=unit.device), itself] = -torch.inf
    return same.gather(1, scores.topk(most, dim=1).indices)
