"""CosFace (Wang et al., CVPR 2018), the same as AM-Softmax (Wang et al., 2018): a margin taken off the cosine.

    f_y = s (cos(theta_y) - m),    f_j = s cos(theta_j)        (CosFace, Eq. 4; AM-Softmax, Eq. 6)

A correct class has to lead the others by m in the cosine, at every angle.
"""

import torch.nn.functional as F
from torch import Tensor

from lsoftmax.checks import Reduction, check_number, check_reduction
from lsoftmax.losses.scaled import ScaledMargin, scaled_logits


def cosface_psi(cosine: Tensor, m: float) -> Tensor:
    """cos(theta) - m, any shape."""
    return cosine - m


def cosface_logits(features: Tensor, weight: Tensor, labels: Tensor, *, s: float, m: float) -> Tensor:
    """Scaled cosines with the margin on each row's target class.

    Args:
        features: (N, D), floating.
        weight: (C, D), of the features' dtype (under autocast any floating dtype).
        labels: (N,), int64, in 0..C-1.
        s: the scale > 0; AM-Softmax takes 30, CosFace 64.
        m: the margin >= 0, taken off the cosine; 0.35 in both papers, 0 is softmax of scaled cosines.

    Returns:
        (N, C) logits in float32 or better. A zero feature or weight has the cosine 0, and finite gradients.

    Raises:
        ValueError, TypeError: before any arithmetic, naming the argument.
    """
    _check_m(m)
    return scaled_logits(features, weight, labels, cosface_psi, s, m)


def cosface_cross_entropy(
    features: Tensor, weight: Tensor, labels: Tensor, *, s: float, m: float, reduction: Reduction = "mean"
) -> Tensor:
    """Cross-entropy of `cosface_logits`: 0-dim, or (N,) for reduction="none"."""
    check_reduction(reduction)
    return F.cross_entropy(cosface_logits(features, weight, labels, s=s, m=m), labels, reduction=reduction)


class CosFace(ScaledMargin):
    """`cosface_cross_entropy` with its class weights; arguments as there."""

    def __init__(self, in_features: int, num_classes: int, *, s: float = 30.0, m: float = 0.35) -> None:
        super().__init__(in_features, num_classes, s=s, m=m)

    def margin_logits(self, features: Tensor, labels: Tensor) -> Tensor:
        return cosface_logits(features, self.weight, labels, s=self.s, m=self.m)

    def positive_psi(self, cosine: Tensor) -> Tensor:
        """cos(theta) > m."""
        return cosface_psi(cosine, self.m) > 0

    def _check_m(self, m: float) -> None:
        _check_m(m)


def _check_m(m: float) -> None:
    check_number("m", m)
