"""The contrastive loss (Hadsell et al., CVPR 2006) on all pairs of a batch, added to softmax as in DeepID2 (Sun et
al., NIPS 2014), the rival of the paper's face table.

    d = |x_i - x_k|;    d^2 for a pair of one class, max(0, margin - d)^2 for a pair of two
"""

from torch import Tensor

from lsoftmax.checks import check_number, check_pairs
from lsoftmax.losses.pairs import SoftmaxWithPairs, distances, same_label


def contrastive_loss(features: Tensor, labels: Tensor, *, margin: float) -> Tensor:
    """Mean over all N (N - 1) / 2 pairs of the batch, those without loss included; 0 for N < 2.

    The features are taken as they are, so the margin is in their unit. Two coincident features of different classes
    have a loss of margin^2 and no gradient: there is no direction to part them in.

    Args:
        features: (N, D), floating.
        labels: (N,), int64.
        margin: how far apart different classes should be, >= 0.

    Returns:
        0-dim tensor, in float32 or better.

    Raises:
        ValueError, TypeError: before any arithmetic, naming the argument.
    """
    check_number("margin", margin)
    check_pairs(features, labels)
    distance = distances(features)
    same = same_label(labels)
    losses = distance.square().where(same, (margin - distance).relu().square())  # 0 on the diagonal
    count = len(features)
    return losses.sum() / max(1, count * (count - 1))  # both triangles


class Contrastive(SoftmaxWithPairs):
    """softmax + balance * `contrastive_loss`."""

    def __init__(self, in_features: int, num_classes: int, *, margin: float = 1.0, balance: float = 0.1) -> None:
        super().__init__(in_features, num_classes, margin=margin, balance=balance)

    def pair_loss(self, features: Tensor, labels: Tensor) -> Tensor:
        return contrastive_loss(features, labels, margin=self.margin)
