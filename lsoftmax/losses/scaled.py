"""What CosFace and ArcFace share: logits s cos(theta_j), the target's with psi(theta, m) in the place of the cosine."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from lsoftmax.checks import check_number, check_tensors
from lsoftmax.losses.criterion import Criterion
from lsoftmax.losses.targets import replace_target, target_of
from lsoftmax.losses.unit import cosines

Psi = Callable[[Tensor, float], Tensor]  # (cosine, m) -> what stands for the target's cosine, same shape


def scaled_logits(features: Tensor, weight: Tensor, labels: Tensor, psi: Psi, s: float, m: float) -> Tensor:
    """(N, D), (C, D), (N,) -> (N, C) in float32 or better: s cos(theta_j), and s psi(theta, m) for the target.

    Raises:
        ValueError, TypeError: before any arithmetic, for s and for tensors that do not fit; m is the caller's to check.
    """
    check_number("s", s, above=0)
    check_tensors(features, weight, labels)
    cosine = cosines(features, weight)
    return s * replace_target(cosine, labels, psi(target_of(cosine, labels), m))


class ScaledMargin(Criterion):
    """Class weights, a scale s and a margin m; neither the norms of the weights nor those of the features count.

    Subclasses say what the margin does: `margin_logits`, `positive_psi` and the range of m. Plain scores are
    s cos(theta_j): they leave the margin out, and nothing else.

    Args:
        in_features: D.
        num_classes: C.
        s: the scale, a number > 0.
        m: the margin.
    """

    def __init__(self, in_features: int, num_classes: int, *, s: float, m: float) -> None:
        super().__init__(in_features, num_classes)
        check_number("s", s, above=0)
        self.s = s
        self.m = m

    @property
    def m(self) -> float:
        return self._m

    @m.setter
    def m(self, value: float) -> None:
        self._check_m(value)
        self._m = value

    def _check_m(self, m: float) -> None:
        raise NotImplementedError

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.margin_logits(features, labels), labels)

    def logits(self, features: Tensor) -> Tensor:
        return self.s * cosines(features, self.weight)

    def extra_repr(self) -> str:
        return f"s={self.s:g}, m={self.m:g}"
