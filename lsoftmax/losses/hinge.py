"""The hinge loss of the tables: Caffe's HingeLoss on a linear layer with bias, and two variants.

    f_j = w_j . x + b_j
    one_vs_all       sum_j max(0, 1 - d_j f_j)^p,  d = +1 for the target, -1 for the others        (Caffe)
    crammer_singer   max(0, 1 + max_{j != y} f_j - f_y)^p        (Crammer and Singer, 2001)

p is 1 for norm="l1", 2 for norm="l2". The paper does not say which one it used; Caffe's default is the first with l1.
With class_reduction="mean" the sum over the C classes becomes their mean, as in torch's multi_margin_loss: at learning
rates that suit softmax, the sum's gradient blows up (l2) or drives all scores to -1 (l1; docs/choices.md).
"""

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from lsoftmax.checks import check_choice, check_tensors
from lsoftmax.losses.criterion import Criterion
from lsoftmax.losses.targets import replace_target, strongest_rival, target_of
from lsoftmax.margin import compute_dtype

Form = Literal["one_vs_all", "crammer_singer"]
Norm = Literal["l1", "l2"]
ClassReduction = Literal["sum", "mean"]
# By how much the target must lead the strongest rival where nothing is lost: +1 over -1, or 1 by definition.
LEAD = {"one_vs_all": 2.0, "crammer_singer": 1.0}


def hinge_loss(
    features: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    bias: Tensor | None = None,
    form: Form = "one_vs_all",
    norm: Norm = "l1",
    class_reduction: ClassReduction = "sum",
) -> Tensor:
    """Mean over the batch of each sample's hinge loss; a score exactly on its margin has no gradient.

    Args:
        features: (N, D), floating.
        weight: (C, D), of the features' dtype (under autocast any floating dtype).
        labels: (N,), int64, in 0..C-1.
        bias: (C,) or None.
        form, norm: see above.
        class_reduction: over the hinges of a sample; crammer_singer has one alone.

    Returns:
        0-dim tensor, in float32 or better.

    Raises:
        ValueError, TypeError: before any arithmetic, naming the argument.
    """
    _check_options(form, norm, class_reduction)
    check_tensors(features, weight, labels, bias)
    scores = F.linear(features, weight, bias)
    scores = scores.to(compute_dtype(scores.dtype))
    target = target_of(scores, labels)
    if form == "one_vs_all":
        missing = replace_target(1 + scores, labels, 1 - target)  # (N, C)
    else:
        missing = (1 + strongest_rival(scores, labels) - target).unsqueeze(1)  # (N, 1)
    losses = missing.relu() if norm == "l1" else missing.relu().square()
    return losses.sum(dim=1).mean() if class_reduction == "sum" else losses.mean()


class Hinge(Criterion):
    """`hinge_loss` with its class weights and a bias that starts at 0; arguments as there.

    `wins_with_margin` counts targets that lead the strongest rival by more than a row without loss must: 2 in
    one_vs_all, 1 in crammer_singer. `positive_psi` is cos(theta) > 0, which leaves the bias aside.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        form: Form = "one_vs_all",
        norm: Norm = "l1",
        class_reduction: ClassReduction = "sum",
    ) -> None:
        super().__init__(in_features, num_classes)
        _check_options(form, norm, class_reduction)
        self.form, self.norm, self.class_reduction = form, norm, class_reduction
        self.bias = nn.Parameter(self.weight.new_zeros(num_classes))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        return hinge_loss(
            features,
            self.weight,
            labels,
            bias=self.bias,
            form=self.form,
            norm=self.norm,
            class_reduction=self.class_reduction,
        )

    def margin_logits(self, features: Tensor, labels: Tensor) -> Tensor:
        scores = self.logits(features)
        return replace_target(scores, labels, target_of(scores, labels) - LEAD[self.form])

    def extra_repr(self) -> str:
        return f"form={self.form}, norm={self.norm}, class_reduction={self.class_reduction}"


def _check_options(form: str, norm: str, class_reduction: str) -> None:
    check_choice("form", form, get_args(Form))
    check_choice("norm", norm, get_args(Norm))
    check_choice("class_reduction", class_reduction, get_args(ClassReduction))
