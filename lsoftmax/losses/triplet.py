"""The triplet loss (Schroff et al., "FaceNet", CVPR 2015) with semi-hard negatives of the batch, added to softmax.

    u = x / |x|;    max(0, |u_a - u_p|^2 - |u_a - u_n|^2 + margin)        (Eq. 3)

a and p are of one class, n of another.
"""

import torch
from torch import Tensor

from lsoftmax.checks import check_number, check_pairs
from lsoftmax.losses.pairs import SoftmaxWithPairs, distances, same_label
from lsoftmax.losses.unit import unit_rows


def triplet_loss(features: Tensor, labels: Tensor, *, margin: float) -> Tensor:
    """Mean over the anchor-positive pairs (a, p), both ways round, that have a semi-hard negative.

    Each such pair takes the nearest negative that is farther from the anchor than the positive is, if it is so by less
    than the margin (FaceNet, Sec. 3.2). A pair without one counts for nothing: where all farther negatives are beyond
    the margin there is nothing left to learn, and where none is farther no harder one is taken instead, since those
    tend to collapse the features. Without any such pair in the batch the loss is 0, and so is its gradient.

    Args:
        features: (N, D), floating; their norms do not count.
        labels: (N,), int64.
        margin: between squared distances on the unit sphere, which lie in 0..4; >= 0.

    Returns:
        0-dim tensor, in float32 or better.

    Raises:
        ValueError, TypeError: before any arithmetic, naming the argument.
    """
    check_number("margin", margin)
    check_pairs(features, labels)
    squared = distances(unit_rows(features)).square()
    same = same_label(labels)
    negatives, order = squared.detach().masked_fill(same, torch.inf).sort(dim=1)  # each row ends in inf: itself
    place = torch.searchsorted(negatives, squared.detach(), right=True)
    place = place.clamp_max(len(labels) - 1)  # a nan would point beyond the row; the loss of the scores reports it
    nearest = order.gather(1, place)  # (a, p) -> n, or the anchor's own class if no negative is farther
    lead = squared.gather(1, nearest) - squared
    others = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    semi_hard = same & others & ~same.gather(1, nearest) & (lead < margin)
    losses = torch.where(semi_hard, margin - lead, 0.0)
    return losses.sum() / semi_hard.sum().clamp_min(1)


class Triplet(SoftmaxWithPairs):
    """softmax + balance * `triplet_loss`."""

    def __init__(self, in_features: int, num_classes: int, *, margin: float = 0.2, balance: float = 1.0) -> None:
        super().__init__(in_features, num_classes, margin=margin, balance=balance)

    def pair_loss(self, features: Tensor, labels: Tensor) -> Tensor:
        return triplet_loss(features, labels, margin=self.margin)
