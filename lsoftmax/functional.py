"""L-Softmax as functions: one matmul for all logits, one corrected logit per row, a backward in closed form.

Shapes: N batch, D features, C classes. x is a row of `features`, w the row of `weight` that belongs to its label,
c the cosine between them, s = 1 / (1 + lambda). Only the target logit differs from the plain linear layer:

    f_y = (lambda |w||x| c + |w||x| psi) / (1 + lambda) = w.x + s |w||x| (psi - c)        (paper, Sec. 5.1 and Eq. 6)

The second form is the one computed: lambda = inf is the plain layer, and nothing overflows. Its gradient, with
g = dpsi/dc:

    d/dx:  (1 + s (g - 1)) w + s (psi - c g) (|w| / |x|) x
    d/dw:  (1 + s (g - 1)) x + s (psi - c g) (|x| / |w|) w

The first terms are the plain layer's times a gain, which goes into the matrix dL/dlogits before its two matmuls; the
second ones are added into what these make: autograd through weight[labels] would allocate a second dense (C, D)
gradient. The margin is computed in float32 or better, whatever the inputs are.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lsoftmax.checks import Gradient, Reduction, check_arguments, check_reduction
from lsoftmax.margin import compute_dtype, psi_and_slope


def lsoftmax_logits(
    features: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    m: int,
    lam: float | Tensor = 0.0,
    gradient: Gradient = "exact",
) -> Tensor:
    """Logits with the margin on each row's target class; all other logits are `features @ weight.T`.

    Args:
        features: (N, D), floating.
        weight: (C, D), of the features' dtype (under autocast any floating dtype).
        labels: (N,), int64, in 0..C-1.
        m: the margin, an int >= 1; m = 1 is the plain linear layer to the last bit.
        lam: lambda >= 0, a number or a 0-dim tensor (which does not recompile under torch.compile); inf is plain.
        gradient: "exact"; "norms_live" takes psi - cos as a constant, so that only its norms carry gradient;
            "detached" takes the whole correction as a constant. The values are the same in all three.

    Returns:
        (N, C) logits, in the dtype that `F.linear` would return.

    Raises:
        ValueError, TypeError: before any arithmetic, naming the argument. Labels out of range raise ValueError on the
            CPU; on an accelerator they are not checked, since that would force a synchronisation.
    """
    check_arguments(features, weight, labels, m, lam, gradient)
    if m == 1:
        return F.linear(features, weight)
    logits: Tensor = _Logits.apply(features, weight, labels, m, lam, gradient)  # type: ignore[no-untyped-call]
    return logits


def lsoftmax_cross_entropy(
    features: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    m: int,
    lam: float | Tensor = 0.0,
    gradient: Gradient = "exact",
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy of `lsoftmax_logits`, fused: less memory than a linear layer and `F.cross_entropy`.

    Arguments and errors as in `lsoftmax_logits`; `reduction` as in `F.cross_entropy`. Half-precision inputs give a
    float32 loss: the logits are rounded once by the matmul, the margin and the softmax are not.

    Returns:
        0-dim tensor, or (N,) for reduction="none".
    """
    check_arguments(features, weight, labels, m, lam, gradient)
    check_reduction(reduction)
    if m == 1:
        logits = F.linear(features, weight)
        return F.cross_entropy(logits.to(compute_dtype(logits.dtype)), labels, reduction=reduction)
    loss: Tensor = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
        features, weight, labels, m, lam, gradient, reduction
    )
    return loss


def target_cosine(features: Tensor, weight: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosine of each row to its own class (0 for a zero vector), |x| and |w|: (N,) each, in float32 or better."""
    dtype = compute_dtype(torch.promote_types(features.dtype, weight.dtype))
    x, w = features.to(dtype), weight.index_select(0, labels).to(dtype)
    norm_x, norm_w = torch.linalg.vector_norm(x, dim=1), torch.linalg.vector_norm(w, dim=1)
    cosine = (x * w).sum(dim=1) / (norm_x * norm_w).clamp_min(torch.finfo(dtype).tiny)
    return cosine.clamp(-1.0, 1.0), norm_x, norm_w


class _Target(NamedTuple):
    """What the margin does to one row: the term added to the target logit, and the coefficients of its gradient."""

    correction: Tensor  # s |w||x| (psi - c)
    gain: Tensor  # 1 + s (g - 1): of w in df_y/dx and of x in df_y/dw, the plain layer's own 1 included
    along_x: Tensor  # of x in d/dx
    along_w: Tensor  # of w in d/dw


def _target(features: Tensor, weight: Tensor, labels: Tensor, m: int, lam: float | Tensor, gradient: str) -> _Target:
    """The margin of every row, (N,) each, in float32 or better."""
    cosine, norm_x, norm_w = target_cosine(features, weight, labels)
    share = 1 / (1 + (lam.to(cosine.dtype) if isinstance(lam, Tensor) else lam))
    value, slope = psi_and_slope(cosine, m)
    difference = (value - cosine).mul_(share)
    if gradient == "exact":
        # psi - c g = (psi - c) - c (g - 1)
        extra = slope.sub_(1).mul_(share)
        gain, along = extra + 1, torch.addcmul(difference, cosine, extra, value=-1)
    else:
        gain = torch.ones_like(cosine)
        along = difference if gradient == "norms_live" else torch.zeros_like(cosine)
    return _Target(
        correction=difference * norm_x * norm_w,
        gain=gain,
        along_x=along * _ratio(norm_w, norm_x),
        along_w=along * _ratio(norm_x, norm_w),
    )


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator, and 0 where the denominator is 0: a zero vector has no direction to move along."""
    return (numerator / denominator).masked_fill_(denominator == 0, 0.0)


class _Logits(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, labels: Tensor, m: int, lam: float | Tensor, gradient: str
    ) -> Tensor:
        ctx.matmul_dtype = _matmul_dtype(features)
        with _no_autocast(features):
            logits = features.to(ctx.matmul_dtype) @ weight.to(ctx.matmul_dtype).T
            target = _target(features, weight, labels, m, lam, gradient)
            index = labels.unsqueeze(1)
            corrected = logits.gather(1, index).to(target.correction.dtype) + target.correction.unsqueeze(1)
            if logits.dtype == torch.float16:  # (1 - 2m)|w||x| leaves float16's range long before w.x does
                corrected = corrected.clamp(min=torch.finfo(torch.float16).min)
            logits.scatter_(1, index, corrected.to(logits.dtype))
        ctx.save_for_backward(features, weight, labels, *target[1:])
        return logits

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, labels, gain, along_x, along_w = ctx.saved_tensors
        index = labels.unsqueeze(1)
        grad_target = grad.gather(1, index).to(gain.dtype)
        folded, apart = _split(ctx, grad_target, gain)
        grad = grad.scatter(1, index, folded.to(grad.dtype))
        grads = _backward(ctx, grad, grad_target, apart, features, weight, labels, along_x, along_w)
        return *grads, None, None, None, None


class _CrossEntropy(torch.autograd.Function):
    """With A the log-sum-exp of all logits but the target's: loss = log(1 + exp(A - f_y)), 1 - p_y = sigmoid(A - f_y).

    A sum that holds the target would lose the others' digits where the sample is confident, and with them what is left
    of the loss and of its gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        labels: Tensor,
        m: int,
        lam: float | Tensor,
        gradient: str,
        reduction: str,
    ) -> Tensor:
        ctx.matmul_dtype, ctx.reduction = _matmul_dtype(features), reduction
        with _no_autocast(features):
            logits = features.to(ctx.matmul_dtype) @ weight.to(ctx.matmul_dtype).T
            logits = logits.to(compute_dtype(logits.dtype))
            target = _target(features, weight, labels, m, lam, gradient)
            index = labels.unsqueeze(1)
            corrected = logits.gather(1, index) + target.correction.unsqueeze(1)
            logits.scatter_(1, index, torch.finfo(logits.dtype).min)  # out of the sum; not -inf, for C = 1
            top = logits.amax(dim=1, keepdim=True)
            shares = logits.sub_(top).exp_()  # of the others among themselves, in the logits' own memory
            total = shares.sum(dim=1, keepdim=True)
            lead = corrected - (top + total.log())
            loss = -F.logsigmoid(lead).squeeze(1)
        ctx.save_for_backward(features, weight, labels, shares, total, lead, *target[1:])
        if reduction == "mean":
            return (loss / loss.numel()).sum() if loss.numel() else loss.mean()  # the sum may leave float32's range
        return loss.sum() if reduction == "sum" else loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, labels, shares, total, lead, gain, along_x, along_w = ctx.saved_tensors
        grad = grad.unsqueeze(1) if ctx.reduction == "none" else grad
        grad_others = torch.sigmoid(-lead).mul_(grad / max(1, len(labels)) if ctx.reduction == "mean" else grad)
        grad_target = -grad_others
        grad_logits = shares * (grad_others / total)
        folded, apart = _split(ctx, grad_target, gain)
        grad_logits.scatter_(1, labels.unsqueeze(1), folded)
        grads = _backward(ctx, grad_logits, grad_target, apart, features, weight, labels, along_x, along_w)
        return *grads, None, None, None, None, None


def _split(ctx: Any, grad_target: Tensor, gain: Tensor) -> tuple[Tensor, Tensor | None]:
    """The part of dL/df_y times gain, (N, 1), that goes through the matmuls, and the part to be added apart.

    All of it goes through them, but for half precision: at small angles gain is m^2 and cancels against `along`, which
    takes more digits than such a matmul has.
    """
    gain = gain.unsqueeze(1)
    if ctx.matmul_dtype == gain.dtype:
        return grad_target * gain, None
    return grad_target, grad_target * (gain - 1)


def _backward(
    ctx: Any,
    grad: Tensor,
    grad_target: Tensor,
    apart: Tensor | None,
    features: Tensor,
    weight: Tensor,
    labels: Tensor,
    along_x: Tensor,
    along_w: Tensor,
) -> tuple[Tensor | None, Tensor | None]:
    """Both Functions' backward from dL/dlogits, as `_split` made it, and dL/df_y, (N, 1)."""
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        raise RuntimeError("L-Softmax has no second derivative here: create_graph=True is not supported")
    grad_features = grad_weight = None
    dtype = grad_target.dtype
    with _no_autocast(features):
        grad = grad.to(ctx.matmul_dtype)
        x = features.to(dtype)
        if ctx.needs_input_grad[0]:
            grad_features = (grad @ weight.to(grad.dtype)).to(dtype)
            grad_features = grad_features.addcmul_(grad_target * along_x.unsqueeze(1), x)
            if apart is not None:
                grad_features = grad_features.addcmul_(apart, weight.index_select(0, labels).to(dtype))
            grad_features = grad_features.to(features.dtype)
        if ctx.needs_input_grad[1]:
            # Rows of one class are summed in float32 or better, also where the weight is kept in half precision.
            grad_weight = (grad.T @ features.to(grad.dtype)).to(dtype)
            rows = grad_target * along_w.unsqueeze(1)
            if len(weight) <= len(labels):
                of_class = rows.new_zeros(len(weight), 1).index_add_(0, labels, rows)
                grad_weight = grad_weight.addcmul_(of_class, weight.to(dtype))
            else:
                grad_weight = grad_weight.index_add_(0, labels, weight.index_select(0, labels).to(dtype).mul_(rows))
            if apart is not None:
                grad_weight = grad_weight.index_add_(0, labels, apart * x)
            grad_weight = grad_weight.to(weight.dtype)
    return grad_features, grad_weight


def _matmul_dtype(features: Tensor) -> torch.dtype:
    """The dtype in which nn.Linear would multiply: autocast's where it is on, which leaves float64 alone."""
    device = features.device.type
    casts = torch.is_autocast_enabled(device) and features.dtype != torch.float64
    return torch.get_autocast_dtype(device) if casts else features.dtype


def _no_autocast(features: Tensor) -> AbstractContextManager[Any]:
    device = features.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
