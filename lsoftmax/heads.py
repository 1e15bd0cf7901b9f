"""LSoftmaxLinear: the classifier layer with the margin, in the place of nn.Linear(..., bias=False)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lsoftmax.annealed import AnnealedMargin
from lsoftmax.checks import Gradient, MarginOn
from lsoftmax.functional import lsoftmax_logits


class LSoftmaxLinear(AnnealedMargin):
    """Fully connected layer without bias whose target logit must win by the margin m (paper, Eq. 4-6).

    `head(features, labels)` gives the (N, C) logits with the margin, for `F.cross_entropy`; `head(features)` gives the
    plain ones, for evaluation: labels decide, not `train()` and `eval()`. `head.m` and `head.lam` may be set at every
    step; lambda, a function of the step, is no part of the state_dict.

    Args:
        in_features: D.
        num_classes: C.
        m: margin, an int >= 1; 1 is plain softmax.
        lam: lambda >= 0; inf is plain softmax, 0 the full margin (Sec. 5.1).
        gradient, margin_on: see `lsoftmax_logits`.
        device, dtype: of the weight, as for `nn.Linear`.

    Raises:
        ValueError: m, lam, gradient or margin_on out of range.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        m: int = 4,
        lam: float = 0.0,
        gradient: Gradient = "exact",
        margin_on: MarginOn = "all",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.num_classes = num_classes
        self.weight = nn.Parameter(torch.empty(num_classes, in_features, device=device, dtype=dtype))
        self._set_margin(m, lam, gradient, margin_on)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He-normal, standard deviation sqrt(2 / D): Caffe's `msra` filler."""
        nn.init.kaiming_normal_(self.weight, mode="fan_in", nonlinearity="relu")

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, D) features and, in training, (N,) labels -> (N, C) logits."""
        if labels is None:
            return F.linear(features, self.weight)
        return lsoftmax_logits(features, self.weight, labels, **self._margin())

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, num_classes={self.num_classes}, {super().extra_repr()}"
