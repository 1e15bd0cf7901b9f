"""L-Softmax as functions: one matmul for all logits, one corrected logit per row, a backward in closed form.

Shapes: N batch, D features, C classes. x is a row of `features`, w the row of `weight` that belongs to its label,
c the cosine between them, s = 1 / (1 + lambda). Only the target logit differs from the plain linear layer:

    f_y = (lambda |w||x| c + |w||x| psi) / (1 + lambda) = w.x + s |w||x| (psi - c)        (paper, Sec. 5.1 and Eq. 6)

The second form is the one computed: lambda = inf is the plain layer, and nothing overflows. Its gradient beyond the
plain layer's own, with g = dpsi/dc:

    d/dx:  s (g - 1) w + s (psi - c g) (|w| / |x|) x
    d/dw:  s (g - 1) x + s (psi - c g) (|x| / |w|) w

These are N rows of length D, added into the gradients that the plain matmuls make: autograd through weight[labels]
would allocate a second dense (C, D) gradient. All of it is computed in float32 or better, whatever the inputs are.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lsoftmax.margin import check_m, compute_dtype, psi_and_slope

Gradient = Literal["exact", "norms_live", "detached"]
Reduction = Literal["mean", "sum", "none"]


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
    _check(features, weight, labels, m, lam, gradient)
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
    _check(features, weight, labels, m, lam, gradient)
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be mean, sum or none, got {reduction!r}")
    if m == 1:
        logits = F.linear(features, weight)
        return F.cross_entropy(logits.to(compute_dtype(logits.dtype)), labels, reduction=reduction)
    loss: Tensor = _CrossEntropy.apply(features, weight, labels, m, lam, gradient)  # type: ignore[no-untyped-call]
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


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
    across: Tensor  # of w in d/dx and of x in d/dw
    along_x: Tensor  # of x in d/dx
    along_w: Tensor  # of w in d/dw


def _target(features: Tensor, weight: Tensor, labels: Tensor, m: int, lam: float | Tensor, gradient: str) -> _Target:
    """The margin of every row, (N,) each, in float32 or better."""
    cosine, norm_x, norm_w = target_cosine(features, weight, labels)
    share = 1 / (1 + (lam.to(cosine.dtype) if isinstance(lam, Tensor) else lam))
    norms, tiny = norm_x * norm_w, torch.finfo(cosine.dtype).tiny
    value, slope = psi_and_slope(cosine, m)
    difference = share * (value - cosine)
    if gradient == "exact":
        across, along = share * (slope - 1), share * (value - cosine * slope)
    else:
        across, along = torch.zeros_like(cosine), difference if gradient == "norms_live" else torch.zeros_like(cosine)
    return _Target(
        correction=difference * norms,
        across=across,
        # |w| / |x|, and 0 instead where the zero vector has no direction.
        along_x=along * (norms / norm_x.square().clamp_min(tiny)),
        along_w=along * (norms / norm_w.square().clamp_min(tiny)),
    )


def _add_target_gradient(
    grad_features: Tensor | None,
    grad_weight: Tensor | None,
    features: Tensor,
    weight: Tensor,
    labels: Tensor,
    grad_target: Tensor,
    target: _Target,
) -> tuple[Tensor | None, Tensor | None]:
    """Add the margin's part to the gradients of the plain matmuls; grad_target is dL/df_y, (N,)."""
    dtype = target.across.dtype
    x, w = features.to(dtype), weight.index_select(0, labels).to(dtype)
    across = (grad_target * target.across).unsqueeze(1)
    if grad_features is not None:
        along_x = (grad_target * target.along_x).unsqueeze(1)
        grad_features = grad_features.to(dtype).addcmul_(across, w).addcmul_(along_x, x).to(features.dtype)
    if grad_weight is not None:
        along_w = (grad_target * target.along_w).unsqueeze(1)
        rows = (across * x).addcmul_(along_w, w)
        # Rows of one class are summed in float32 or better, also where the weight is kept in half precision.
        grad_weight = grad_weight.to(dtype).index_add_(0, labels, rows).to(weight.dtype)
    return grad_features, grad_weight


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
        ctx.save_for_backward(features, weight, labels, *target)
        return logits

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, labels, *target = ctx.saved_tensors
        grad_target = grad.gather(1, labels.unsqueeze(1)).squeeze(1).to(target[0].dtype)
        return _backward(ctx, grad, grad_target, features, weight, labels, _Target(*target))


class _CrossEntropy(torch.autograd.Function):
    """With A the log-sum-exp of all logits but the target's: loss = log(1 + exp(A - f_y)), 1 - p_y = sigmoid(A - f_y).

    A sum that holds the target would lose the others' digits where the sample is confident, and with them what is left
    of the loss and of its gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, labels: Tensor, m: int, lam: float | Tensor, gradient: str
    ) -> Tensor:
        ctx.matmul_dtype = _matmul_dtype(features)
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
        ctx.save_for_backward(features, weight, labels, shares, total, lead, *target)
        return -F.logsigmoid(lead).squeeze(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, labels, shares, total, lead, *target = ctx.saved_tensors
        grad_others = torch.sigmoid(-lead) * grad.unsqueeze(1)
        grad_logits = (shares * (grad_others / total)).scatter_(1, labels.unsqueeze(1), -grad_others)
        return _backward(ctx, grad_logits, -grad_others.squeeze(1), features, weight, labels, _Target(*target))


def _backward(
    ctx: Any, grad: Tensor, grad_target: Tensor, features: Tensor, weight: Tensor, labels: Tensor, target: _Target
) -> tuple[Tensor | None, ...]:
    """Both Functions' backward from dL/dlogits: the plain layer's two matmuls, then the margin's rows."""
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        raise RuntimeError("L-Softmax has no second derivative here: create_graph=True is not supported")
    with _no_autocast(features):
        grad = grad.to(ctx.matmul_dtype)
        grad_features = grad @ weight.to(grad.dtype) if ctx.needs_input_grad[0] else None
        grad_weight = grad.T @ features.to(grad.dtype) if ctx.needs_input_grad[1] else None
        grads = _add_target_gradient(grad_features, grad_weight, features, weight, labels, grad_target, target)
    return *grads, None, None, None, None


def _matmul_dtype(features: Tensor) -> torch.dtype:
    """The dtype in which nn.Linear would multiply: autocast's where it is on, which leaves float64 alone."""
    device = features.device.type
    casts = torch.is_autocast_enabled(device) and features.dtype != torch.float64
    return torch.get_autocast_dtype(device) if casts else features.dtype


def _no_autocast(features: Tensor) -> AbstractContextManager[Any]:
    device = features.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def _check(features: Tensor, weight: Tensor, labels: Tensor, m: int, lam: float | Tensor, gradient: str) -> None:
    check_m(m)
    check_lam(lam)
    check_gradient(gradient)
    if features.ndim != 2 or weight.ndim != 2 or features.shape[1] != weight.shape[1]:
        shapes = f"features {tuple(features.shape)} and weight {tuple(weight.shape)}"
        raise ValueError(f"features must be (N, D) and weight (C, D) with the same D, got {shapes}")
    if labels.shape != features.shape[:1]:
        raise ValueError(f"labels must be (N,) = ({features.shape[0]},), got {tuple(labels.shape)}")
    if labels.dtype != torch.int64:
        raise TypeError(f"labels must be int64, got {labels.dtype}")
    for name, tensor in (("features", features), ("weight", weight)):
        if not tensor.dtype.is_floating_point:
            raise TypeError(f"{name} must have a floating dtype, got {tensor.dtype}")
    mixes = torch.is_autocast_enabled(features.device.type) and torch.float64 not in (features.dtype, weight.dtype)
    if features.dtype != weight.dtype and not mixes:
        raise TypeError(f"features and weight must share a dtype, got {features.dtype} and {weight.dtype}")
    check_labels(labels, weight.shape[0])


def check_lam(lam: float | Tensor) -> None:
    """ValueError unless lam is a number >= 0 (inf included) or a 0-dim tensor, whose value is not read."""
    if isinstance(lam, Tensor):
        if lam.ndim != 0:
            raise ValueError(f"lam must be a number or a 0-dim tensor, got shape {tuple(lam.shape)}")
    elif isinstance(lam, bool) or not isinstance(lam, int | float) or not lam >= 0:  # the last also for nan
        raise ValueError(f"lam must be a number >= 0 (inf means no margin), got {lam!r}")


def check_gradient(gradient: str) -> None:
    """ValueError unless it is one of `Gradient`."""
    if gradient not in ("exact", "norms_live", "detached"):
        raise ValueError(f"gradient must be exact, norms_live or detached, got {gradient!r}")


def check_labels(labels: Tensor, num_classes: int) -> None:
    """ValueError if a label on the CPU lies outside 0..num_classes-1; elsewhere, and in a compiled graph, no check."""
    if labels.device.type != "cpu" or torch.compiler.is_compiling() or labels.numel() == 0:
        return
    low, high = (int(value) for value in labels.aminmax())
    if low < 0 or high >= num_classes:
        raise ValueError(f"labels must lie in 0..{num_classes - 1}, got {low if low < 0 else high}")
