"""The target logit of L-Softmax: what the margin adds to it, and to the gradients of the plain matmuls.

Notation as in `lsoftmax.functional`. All of it is N numbers, computed in float32 or better whatever the inputs are.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lsoftmax.margin import cast, compute_dtype, psi_and_slope


class Target(NamedTuple):
    """What the margin does to each row, (N, 1) each."""

    correction: Tensor  # s |w||x| (psi - c): what is added to the plain logit
    gain: Tensor  # 1 + s (g - 1): of w in df_y/dx and of x in df_y/dw, the plain layer's own 1 included
    along_x: Tensor  # of x in df_y/dx
    along_w: Tensor  # of w in df_y/dw


def target_of_margin(
    features: Tensor, weight: Tensor, labels: Tensor, m: int, lam: float | Tensor, gradient: str
) -> Target:
    """See `Target`; arguments as in `lsoftmax_logits`, lam also (N, 1)."""
    cosine, norm_x, norm_w = target_cosine(features, weight, labels)
    share = cast(lam, cosine.dtype).add(1).reciprocal_() if isinstance(lam, Tensor) else 1 / (1 + lam)
    value, slope = psi_and_slope(cosine, m)
    difference = (value - cosine).mul_(share)
    if gradient == "exact":
        extra = slope.sub_(1).mul_(share)  # psi - c g = (psi - c) - c (g - 1)
        gain, along = extra + 1, torch.addcmul(difference, cosine, extra, value=-1)
    else:
        gain = torch.ones_like(cosine)
        along = difference if gradient == "norms_live" else torch.zeros_like(cosine)
    return Target(
        # In place only where nothing else holds it: of norms_live `along` is the same tensor.
        correction=difference.mul_(norm_x).mul_(norm_w) if gradient == "exact" else difference * norm_x * norm_w,
        gain=gain,
        along_x=_ratio(norm_w, norm_x).mul_(along),
        along_w=_ratio(norm_x, norm_w).mul_(along),
    )


def lambda_of_rows(lam: float | Tensor, margin_on: str, target: Tensor, rival: Tensor) -> float | Tensor:
    """lam, or for "winners" (N, 1): lam where the plain target logit beats the strongest rival, else inf, no margin."""
    if margin_on == "all":
        return lam
    no_margin = torch.full_like(target, torch.inf, dtype=compute_dtype(target.dtype))
    return torch.where(target > rival, lam, no_margin)  # masked_fill would wait for a lam that lies on a GPU


def target_cosine(features: Tensor, weight: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosine of each row to its own class (0 for a zero vector), |x| and |w|: (N, 1) each, in float32 or better.

    From the rows themselves and not from the logits, which TF32 or half precision may have rounded: psi multiplies such
    an error by up to m^2.
    """
    dtype = compute_dtype(features.dtype, weight.dtype)
    x, w = cast(features, dtype), cast(weight.index_select(0, labels), dtype)
    norm_x, norm_w = (torch.linalg.vector_norm(rows, dim=1, keepdim=True) for rows in (x, w))
    product = w.mul_(x).sum(dim=1, keepdim=True)  # w is a copy: one (N, D) at a time
    cosine = product / (norm_x * norm_w).clamp_min(torch.finfo(dtype).tiny)
    return cosine.clamp_(-1.0, 1.0), norm_x, norm_w


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator, and 0 where the denominator is 0: a zero vector has no direction to move along."""
    return (numerator / denominator).nan_to_num_(nan=0.0, posinf=0.0)


def gain_through_matmul(grad_target: Tensor, gain: Tensor, matmul: torch.dtype) -> Tensor:
    """The part of dL/df_y times gain, (N, 1), that goes through the plain matmuls.

    All of it, but for half precision: at small angles gain is m^2 and cancels against `along`, which takes more digits
    than such a matmul has.
    """
    return grad_target * gain if matmul == gain.dtype else grad_target


def gain_apart(grad_target: Tensor, gain: Tensor, matmul: torch.dtype) -> Tensor | None:
    """What `gain_through_matmul` leaves, to be added apart."""
    return None if matmul == gain.dtype else grad_target * (gain - 1)


def add_to_features_gradient(
    plain: Tensor,
    features: Tensor,
    weight: Tensor,
    labels: Tensor,
    grad_target: Tensor,
    apart: Tensor | None,
    along_x: Tensor,
) -> Tensor:
    """The margin's part added to the plain matmul's dL/dx (N, D); grad_target is dL/df_y, apart is `gain_apart`."""
    dtype = grad_target.dtype
    grad = cast(plain, dtype).addcmul_(grad_target * along_x, cast(features, dtype))
    if apart is not None:
        grad = grad.addcmul_(apart, weight.index_select(0, labels).to(dtype))
    return cast(grad, features.dtype)


def add_to_weight_gradient(
    plain: Tensor,
    features: Tensor,
    weight: Tensor,
    labels: Tensor,
    grad_target: Tensor,
    apart: Tensor | None,
    along_w: Tensor,
) -> Tensor:
    """The margin's part added to the plain matmul's dL/dw (C, D), in place where the dtype allows it."""
    dtype = grad_target.dtype
    grad = cast(plain, dtype)  # rows of one class are summed in float32 or better, also if the weight is half precision
    rows = grad_target * along_w
    if len(weight) <= len(labels):
        of_class = rows.new_zeros(len(weight), 1).index_add_(0, labels, rows)
        grad = grad.addcmul_(of_class, cast(weight, dtype))
    else:
        grad = grad.index_add_(0, labels, weight.index_select(0, labels).to(dtype).mul_(rows))
    if apart is not None:
        grad = grad.index_add_(0, labels, features.to(dtype).mul(apart))
    return cast(grad, weight.dtype)


def refuse_second_derivative() -> None:
    """For the Functions' backward, which builds no graph of its own."""
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        raise RuntimeError("L-Softmax has no second derivative here: create_graph=True is not supported")
