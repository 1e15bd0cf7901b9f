"""L-Softmax as a criterion (Eq. 4-6): cross-entropy whose target logit carries the margin m, annealed by lambda."""

from torch import Tensor

from lsoftmax.annealed import AnnealedMargin
from lsoftmax.checks import Gradient, MarginOn
from lsoftmax.functional import lsoftmax_cross_entropy, lsoftmax_logits
from lsoftmax.losses.criterion import Criterion
from lsoftmax.margin import psi_of_cosine
from lsoftmax.required import required_lambda

MANY_CLASSES = 200_000  # from here on the logits of a batch would take more room than it is worth
CLASS_BLOCK = 32_768


class LSoftmax(Criterion, AnnealedMargin):
    """The fused loss with its class weights; arguments as in `lsoftmax.LSoftmaxLinear`."""

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        m: int = 4,
        lam: float = 0.0,
        gradient: Gradient = "exact",
        margin_on: MarginOn = "all",
    ) -> None:
        super().__init__(in_features, num_classes)
        self._set_margin(m, lam, gradient, margin_on)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        block = CLASS_BLOCK if len(self.weight) >= MANY_CLASSES else None
        return lsoftmax_cross_entropy(features, self.weight, labels, **self._margin(), class_block=block)

    def margin_logits(self, features: Tensor, labels: Tensor) -> Tensor:
        return lsoftmax_logits(features, self.weight, labels, **self._margin())

    def positive_psi(self, cosine: Tensor) -> Tensor:
        return psi_of_cosine(cosine, self.m) > 0

    def required_lambda(self, features: Tensor, labels: Tensor) -> Tensor:
        """(N,): see `lsoftmax.required_lambda`."""
        return required_lambda(features, self.weight, labels, m=self.m)

    def class_norms(self) -> Tensor:
        """(C,): the norms of the class weights, without a graph, for the guard of an `AdaptiveLambda`."""
        norms: Tensor = self.weight.detach().norm(dim=1)
        return norms
