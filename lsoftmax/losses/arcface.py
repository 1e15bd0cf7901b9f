"""ArcFace (Deng et al., CVPR 2019): a margin added to the angle.

    f_y = s cos(theta_y + m),    f_j = s cos(theta_j)        (Eq. 3)

cos(theta + m) would rise again beyond theta + m = pi. There the target's value is cos(theta) - m sin(m), as in the
authors' code (insightface, without "easy margin") and pytorch-metric-learning: it goes on falling, with a step down
from -1 to -cos(m) - m sin(m) at theta = pi - m. (From m = 2.33 on the step would lead up: m is kept below pi / 2.)
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lsoftmax.checks import Reduction, check_number, check_reduction
from lsoftmax.losses.scaled import ScaledMargin, scaled_logits
from lsoftmax.margin import within_range


def arcface_psi(cosine: Tensor, m: float) -> Tensor:
    """cos(theta + m) from cos(theta), any shape; cos(theta) - m sin(m) where theta + m > pi.

    No acos: cos(theta) cos(m) - sin(theta) sin(m). The slope in the cosine grows like sin(m) / theta towards theta = 0,
    where the cosine's own gradient falls like theta; at sin(theta) = 0 itself that part is left out of the gradient.
    """
    c = within_range(cosine)
    square = (1 - c) * (1 + c)  # 1 - c^2, without its cancellation
    oblique = square > 0
    sine = torch.where(oblique, torch.where(oblique, square, 1.0).sqrt(), 0.0)  # the inner one keeps sqrt off 0
    return torch.where(c > -math.cos(m), c * math.cos(m) - sine * math.sin(m), c - m * math.sin(m))


def arcface_logits(features: Tensor, weight: Tensor, labels: Tensor, *, s: float, m: float) -> Tensor:
    """Scaled cosines with the margin on each row's target class.

    Args:
        features: (N, D), floating.
        weight: (C, D), of the features' dtype (under autocast any floating dtype).
        labels: (N,), int64, in 0..C-1.
        s: the scale > 0; 64 in the paper.
        m: the margin in radians, in [0, pi / 2); 0.5 in the paper, 0 is softmax of scaled cosines.

    Returns:
        (N, C) logits in float32 or better. A zero feature or weight has the cosine 0, and finite gradients.

    Raises:
        ValueError, TypeError: before any arithmetic, naming the argument.
    """
    _check_m(m)
    return scaled_logits(features, weight, labels, arcface_psi, s, m)


def arcface_cross_entropy(
    features: Tensor, weight: Tensor, labels: Tensor, *, s: float, m: float, reduction: Reduction = "mean"
) -> Tensor:
    """Cross-entropy of `arcface_logits`: 0-dim, or (N,) for reduction="none"."""
    check_reduction(reduction)
    return F.cross_entropy(arcface_logits(features, weight, labels, s=s, m=m), labels, reduction=reduction)


class ArcFace(ScaledMargin):
    """`arcface_cross_entropy` with its class weights; arguments as there."""

    def __init__(self, in_features: int, num_classes: int, *, s: float = 64.0, m: float = 0.5) -> None:
        super().__init__(in_features, num_classes, s=s, m=m)

    def margin_logits(self, features: Tensor, labels: Tensor) -> Tensor:
        return arcface_logits(features, self.weight, labels, s=self.s, m=self.m)

    def positive_psi(self, cosine: Tensor) -> Tensor:
        """theta + m < pi / 2."""
        return arcface_psi(cosine, self.m) > 0

    def _check_m(self, m: float) -> None:
        _check_m(m)


def _check_m(m: float) -> None:
    check_number("m", m, below=math.pi / 2)
