"""A-Softmax (Liu et al., "SphereFace", CVPR 2017): L-Softmax with class weights of length 1.

    f_y = |x| (lambda cos(theta_y) + psi(theta_y)) / (1 + lambda),    f_j = |x| cos(theta_j)        (Eqs. 7 and 8)

psi is L-Softmax's. The weights are normalised in the forward pass (the authors' layer overwrites them instead), so
their stored norms have no meaning.
"""

from torch import Tensor

from lsoftmax.checks import Gradient, MarginOn, Reduction, check_arguments, check_reduction
from lsoftmax.functional import lsoftmax_cross_entropy, lsoftmax_logits
from lsoftmax.losses.lsoftmax import LSoftmax
from lsoftmax.losses.unit import unit_rows
from lsoftmax.required import required_lambda


def asoftmax_logits(
    features: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    m: int,
    lam: float | Tensor = 0.0,
    gradient: Gradient = "exact",
    margin_on: MarginOn = "all",
) -> Tensor:
    """`lsoftmax_logits` for weight / |weight|: arguments, result and errors as there.

    A zero weight has the cosine 0, and finite gradients. A float16 or bfloat16 weight is rounded once more after its
    normalisation (under autocast none is).
    """
    check_arguments(features, weight, labels, m, lam, gradient, margin_on)
    return lsoftmax_logits(features, _unit(weight), labels, m=m, lam=lam, gradient=gradient, margin_on=margin_on)


def asoftmax_cross_entropy(
    features: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    m: int,
    lam: float | Tensor = 0.0,
    gradient: Gradient = "exact",
    margin_on: MarginOn = "all",
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy of `asoftmax_logits`, fused as `lsoftmax_cross_entropy` is: 0-dim, or (N,) for "none"."""
    check_arguments(features, weight, labels, m, lam, gradient, margin_on)
    check_reduction(reduction)
    return lsoftmax_cross_entropy(
        features, _unit(weight), labels, m=m, lam=lam, gradient=gradient, margin_on=margin_on, reduction=reduction
    )


def _unit(weight: Tensor) -> Tensor:
    return unit_rows(weight).to(weight.dtype)


class ASoftmax(LSoftmax):
    """`asoftmax_cross_entropy` with its class weights; arguments as there, m and lambda as `LSoftmax` holds them.

    Plain scores are |x| cos(theta_j).
    """

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        return asoftmax_cross_entropy(features, self.weight, labels, **self._margin())

    def logits(self, features: Tensor) -> Tensor:
        return features @ _unit(self.weight).T

    def margin_logits(self, features: Tensor, labels: Tensor) -> Tensor:
        return asoftmax_logits(features, self.weight, labels, **self._margin())

    def required_lambda(self, features: Tensor, labels: Tensor) -> Tensor:
        return required_lambda(features, _unit(self.weight), labels, m=self.m)

    def class_norms(self) -> Tensor:
        """(C,): ones: no class can shrink away here."""
        return self.weight.new_ones(len(self.weight))
