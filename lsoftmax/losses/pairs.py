"""What the losses on pairs share: distances within a batch, and softmax with such a term beside it."""

import torch
from torch import Tensor

from lsoftmax.autocast import no_autocast
from lsoftmax.checks import check_number
from lsoftmax.losses.criterion import Criterion
from lsoftmax.margin import compute_dtype
from lsoftmax.reduction import cross_entropy


def distances(features: Tensor) -> Tensor:
    """(N, D) -> (N, N) Euclidean distances of the rows, in float32 or better also under autocast.

    From differences, not from |x|^2 + |y|^2 - 2 x.y: rounding would turn the distance of two near points into noise and
    its gradient, which has the distance below the line, into anything. Where two points coincide the gradient is 0.
    """
    with no_autocast(features):
        x = features.to(compute_dtype(features.dtype))
        return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")


def same_label(labels: Tensor) -> Tensor:
    """(N,) -> (N, N) bool; True on the diagonal."""
    return labels.unsqueeze(0) == labels.unsqueeze(1)


class SoftmaxWithPairs(Criterion):
    """softmax + balance * `pair_loss` of the features; subclasses add `pair_loss`.

    Plain scores are softmax's. The pair term takes no weights, so the instruments know no margin.

    Args:
        in_features: D.
        num_classes: C.
        margin: of the pair term, >= 0; see the subclass.
        balance: its weight, >= 0; 0 is softmax.
    """

    def __init__(self, in_features: int, num_classes: int, *, margin: float, balance: float) -> None:
        super().__init__(in_features, num_classes)
        check_number("margin", margin)
        check_number("balance", balance)
        self.margin, self.balance = margin, balance

    def pair_loss(self, features: Tensor, labels: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(self.logits(features), labels) + self.balance * self.pair_loss(features, labels)

    def extra_repr(self) -> str:
        return f"margin={self.margin:g}, balance={self.balance:g}"
