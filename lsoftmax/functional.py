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
gradient. Both are in `lsoftmax.target`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lsoftmax.autocast import matmul_dtype, no_autocast
from lsoftmax.blockwise import blockwise_cross_entropy
from lsoftmax.checks import Gradient, MarginOn, Reduction, check_arguments, check_class_block, check_reduction
from lsoftmax.margin import cast, compute_dtype
from lsoftmax.reduction import cross_entropy, of_rows, reduced, softplus
from lsoftmax.target import (
    add_to_features_gradient,
    add_to_weight_gradient,
    gain_apart,
    gain_through_matmul,
    lambda_of_rows,
    refuse_second_derivative,
    target_of_margin,
)


def lsoftmax_logits(
    features: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    m: int,
    lam: float | Tensor = 0.0,
    gradient: Gradient = "exact",
    margin_on: MarginOn = "all",
) -> Tensor:
    """Logits with the margin on each row's target class; all other logits are `features @ weight.T`.

    Args:
        features: (N, D), floating.
        weight: (C, D), of the features' dtype (under autocast any floating dtype).
        labels: (N,), int64, in 0..C-1.
        m: the margin, an int >= 1; m = 1 is the plain linear layer to the last bit.
        lam: lambda >= 0, a number or a 0-dim tensor (which does not recompile under torch.compile); inf is plain.
            It takes no gradient.
        gradient: "exact"; "norms_live" takes psi - cos as a constant, so that only its norms carry gradient;
            "detached" takes the whole correction as a constant. The values are the same in all three.
        margin_on: "all" rows, as in the paper; "winners": those alone whose target logit beats every other without a
            margin. A row that loses anyhow learns as with softmax: no class is starved by it (docs/stability.md).

    Returns:
        (N, C) logits, in the dtype that `F.linear` would return.

    Raises:
        ValueError, TypeError: before any arithmetic, naming the argument. Labels and a lambda tensor out of range raise
            ValueError on the CPU; on an accelerator they are not checked, since that would force a synchronisation.
    """
    check_arguments(features, weight, labels, m, lam, gradient, margin_on)
    if m == 1:
        return F.linear(features, weight)
    logits: Tensor = _Logits.apply(  # type: ignore[no-untyped-call]
        features, weight, labels, m, lam, gradient, margin_on
    )
    return logits


def lsoftmax_cross_entropy(
    features: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    m: int,
    lam: float | Tensor = 0.0,
    gradient: Gradient = "exact",
    margin_on: MarginOn = "all",
    reduction: Reduction = "mean",
    class_block: int | None = None,
) -> Tensor:
    """Cross-entropy of `lsoftmax_logits`, fused: less memory than a linear layer and `F.cross_entropy`.

    Arguments and errors as in `lsoftmax_logits`; `reduction` as in `F.cross_entropy`. Half-precision inputs give a
    float32 loss: the logits are rounded once by the matmul, the margin and the softmax are not.

    class_block: for very many classes, walk over blocks of so many and compute their logits a second time in backward:
        (N, class_block) numbers are held at a time instead of (N, C), for one matmul more (four instead of three).

    Returns:
        0-dim tensor, or (N,) for reduction="none".
    """
    check_arguments(features, weight, labels, m, lam, gradient, margin_on)
    check_reduction(reduction)
    check_class_block(class_block)
    if class_block is not None and class_block < len(weight):
        return blockwise_cross_entropy(features, weight, labels, m, lam, gradient, margin_on, reduction, class_block)
    if m == 1:
        return cross_entropy(F.linear(features, weight), labels, reduction)
    shares, total, gap, gain = _Gap.apply(  # type: ignore[no-untyped-call]
        features, weight, labels, m, lam, gradient, margin_on
    )
    loss: Tensor = _Loss.apply(  # type: ignore[no-untyped-call]
        shares, total, gap, gain, labels, matmul_dtype(features), reduction
    )
    return loss


class _Logits(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        labels: Tensor,
        m: int,
        lam: float | Tensor,
        gradient: str,
        margin_on: str,
    ) -> Tensor:
        ctx.matmul_dtype = matmul_dtype(features)
        with no_autocast(features):
            logits = torch.mm(cast(features, ctx.matmul_dtype), cast(weight, ctx.matmul_dtype).t())
            index = labels.unsqueeze(1)
            own = logits.gather(1, index)
            if margin_on != "all":
                rival = logits.scatter_(1, index, torch.finfo(logits.dtype).min).amax(dim=1, keepdim=True)
                lam = lambda_of_rows(lam, margin_on, own, rival)
            target = target_of_margin(features, weight, labels, m, lam, gradient)
            corrected = own.to(target.correction.dtype) + target.correction
            if logits.dtype == torch.float16:  # (1 - 2m)|w||x| leaves float16's range long before w.x does
                corrected = corrected.clamp(min=torch.finfo(torch.float16).min)
            logits.scatter_(1, index, corrected.to(logits.dtype))
        ctx.save_for_backward(features, weight, labels, *target[1:])
        return _output(logits)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        saved = ctx.saved_tensors  # once: activation checkpointing unpacks a tensor one time only
        index, gain = saved[2].unsqueeze(1), saved[3]
        grad_target = grad.gather(1, index).to(gain.dtype)
        through = gain_through_matmul(grad_target, gain, ctx.matmul_dtype)
        grad = grad.scatter(1, index, through.to(grad.dtype))
        return *_backward(ctx, saved, grad, grad_target), None, None, None, None, None


class _Gap(torch.autograd.Function):
    """By how much the target logit trails A, the log-sum-exp of all others: loss = log(1 + exp(A - f_y)).

    A sum that holds the target would lose the others' digits where the sample is confident, and with them what is left
    of the loss and of its gradient. Together with `_Loss` one function in two nodes: so the shares, (N, C), are gone
    before the matmuls of backward ask for room.
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
        margin_on: str,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """-> the shares of the other classes (N, C), their total, the gap and `Target.gain`, (N, 1) each."""
        ctx.matmul_dtype = matmul_dtype(features)
        ctx.set_materialize_grads(False)
        with no_autocast(features):
            logits = torch.mm(cast(features, ctx.matmul_dtype), cast(weight, ctx.matmul_dtype).t())
            logits = cast(logits, compute_dtype(logits.dtype))
            index = labels.unsqueeze(1)
            own = logits.gather(1, index)
            logits.scatter_(1, index, torch.finfo(logits.dtype).min)  # out of the sum; not -inf, for C = 1
            top = logits.amax(dim=1, keepdim=True)
            lam = lambda_of_rows(lam, margin_on, own, top)
            target = target_of_margin(features, weight, labels, m, lam, gradient)
            corrected = own + target.correction
            shares = logits.sub_(top).exp_()  # of the others among themselves, in the logits' own memory
            total = shares.sum(dim=1, keepdim=True)
            gap = total.log().add_(top).sub_(corrected)
        ctx.save_for_backward(features, weight, labels, *target[1:])
        ctx.mark_non_differentiable(total, target.gain)
        return _output(shares), total, _output(gap), target.gain

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: None, grad_target: Tensor, __: None) -> tuple[Tensor | None, ...]:
        """From dL/dlogits, whose target `_Loss` has made what goes through the matmuls, and dL/df_y."""
        return *_backward(ctx, ctx.saved_tensors, grad, grad_target), None, None, None, None, None


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        shares: Tensor,
        total: Tensor,
        gap: Tensor,
        gain: Tensor,
        labels: Tensor,
        matmul: torch.dtype,
        reduction: str,
    ) -> Tensor:
        ctx.matmul_dtype, ctx.reduction = matmul, reduction
        ctx.save_for_backward(shares, total, gap, gain, labels)
        return reduced(softplus(gap.squeeze(1)), reduction)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """dL/dlogits, and dL/df_y beside it: 1 - p_y = sigmoid(gap) goes from the target to the others' shares."""
        refuse_second_derivative()
        shares, total, gap, gain, labels = ctx.saved_tensors
        grad_others = torch.sigmoid(gap) * of_rows(grad, ctx.reduction, len(labels))
        grad_target = -grad_others
        through = gain_through_matmul(grad_target, gain, ctx.matmul_dtype)
        grad_logits = (shares * (grad_others / total)).scatter_(1, labels.unsqueeze(1), through)
        return grad_logits, None, grad_target, None, None, None, None


def _output(tensor: Tensor) -> Tensor:
    """What an in-place operation has made, as a Function may return it: torch 2.11's compiler gives it no gradient."""
    return tensor.view_as(tensor) if torch.compiler.is_compiling() else tensor


def _backward(
    ctx: Any, saved: tuple[Tensor, ...], grad: Tensor, grad_target: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """From what forward saved, dL/dlogits, its target as `gain_through_matmul` made it, and dL/df_y, (N, 1)."""
    features, weight, labels, gain, along_x, along_w = saved
    margin = (features, weight, labels, grad_target, gain_apart(grad_target, gain, ctx.matmul_dtype))
    grad_features = grad_weight = None
    with no_autocast(features):
        grad = cast(grad, ctx.matmul_dtype)
        if ctx.needs_input_grad[0]:
            grad_features = add_to_features_gradient(torch.mm(grad, cast(weight, grad.dtype)), *margin, along_x)
        if ctx.needs_input_grad[1]:
            grad_weight = add_to_weight_gradient(torch.mm(grad.t(), cast(features, grad.dtype)), *margin, along_w)
    return grad_features, grad_weight
