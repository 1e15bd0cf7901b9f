"""The fused loss for very many classes: never more than a block of the (N, C) logits at a time.

Forward walks over blocks of classes with a running log-sum-exp; backward computes each block's logits again. Beside
the features, the weight and their gradients this holds (N, class_block) numbers, for four matmuls instead of three.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lsoftmax.autocast import matmul_dtype, no_autocast
from lsoftmax.margin import cast, compute_dtype
from lsoftmax.reduction import of_rows, reduced, softplus
from lsoftmax.target import (
    add_to_features_gradient,
    add_to_weight_gradient,
    gain_apart,
    gain_through_matmul,
    lambda_of_rows,
    refuse_second_derivative,
    target_of_margin,
)

LOGITS_AT_A_TIME = 2**24  # where rows are looked at apart: of an ordinary number of classes these are all of a batch


def few_rows(features: Tensor, labels: Tensor, num_classes: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batch, in pieces of so few rows that the logits of one take little room."""
    rows = max(1, LOGITS_AT_A_TIME // num_classes)
    return zip(torch.split(features, rows), torch.split(labels, rows), strict=True)


def blockwise_cross_entropy(
    features: Tensor,
    weight: Tensor,
    labels: Tensor,
    m: int,
    lam: float | Tensor,
    gradient: str,
    margin_on: str,
    reduction: str,
    class_block: int,
) -> Tensor:
    """`lsoftmax_cross_entropy` with a class_block < C; its arguments were checked there."""
    loss: Tensor = _Blockwise.apply(  # type: ignore[no-untyped-call]
        features, weight, labels, m, lam, gradient, margin_on, reduction, class_block
    )
    return loss


class _Blockwise(torch.autograd.Function):
    """A, the log-sum-exp of all logits but the target's, as top + log(total) over the blocks seen so far."""

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
        reduction: str,
        class_block: int,
    ) -> Tensor:
        ctx.matmul_dtype, ctx.reduction, ctx.class_block = matmul_dtype(features), reduction, class_block
        with no_autocast(features):
            total = torch.zeros(len(labels), 1, dtype=compute_dtype(ctx.matmul_dtype), device=features.device)
            lowest = torch.finfo(total.dtype).min
            top, target_logit = torch.full_like(total, lowest), torch.zeros_like(total)
            x = cast(features, ctx.matmul_dtype)
            for start, rows in _blocks(weight, class_block):
                logits = _logits(x, rows)
                index, inside = _position(labels, start, len(rows))
                own = logits.gather(1, index)
                target_logit = torch.where(inside, own, target_logit)
                logits.scatter_(1, index, torch.where(inside, lowest, own))
                highest = torch.maximum(top, logits.amax(dim=1, keepdim=True))
                total = total * (top - highest).exp_() + logits.sub_(highest).exp_().sum(dim=1, keepdim=True)
                top = highest
            lam = lambda_of_rows(lam, margin_on, target_logit, top)
            target = target_of_margin(features, weight, labels, m, lam, gradient)
            others = top + total.log()
            gap = others - (target_logit + target.correction)
            ctx.save_for_backward(features, weight, labels, *target[1:], others, gap)
            return reduced(softplus(gap.squeeze(1)), reduction)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        features, weight, labels, gain, along_x, along_w, others, gap = ctx.saved_tensors
        grad_others = torch.sigmoid(gap).mul_(of_rows(grad, ctx.reduction, len(labels)))
        grad_target = -grad_others
        through = gain_through_matmul(grad_target, gain, ctx.matmul_dtype)
        margin = (features, weight, labels, grad_target, gain_apart(grad_target, gain, ctx.matmul_dtype))
        wants_features, wants_weight = ctx.needs_input_grad[:2]
        with no_autocast(features):
            x = cast(features, ctx.matmul_dtype)
            grad_features = torch.zeros_like(features, dtype=gap.dtype) if wants_features else None
            grad_weight = torch.empty_like(weight) if wants_weight else None
            for start, rows in _blocks(weight, ctx.class_block):
                block = _logits(x, rows).sub_(others).exp_().mul_(grad_others)
                index, inside = _position(labels, start, len(rows))
                block.scatter_(1, index, torch.where(inside, through, block.gather(1, index)))
                block = cast(block, x.dtype)
                if grad_features is not None:
                    grad_features += torch.mm(block, cast(rows, x.dtype))
                if grad_weight is not None:
                    place = grad_weight[start : start + len(rows)]
                    if place.dtype == block.dtype and place.is_contiguous():
                        torch.mm(block.t(), x, out=place)  # without a second one of its size
                    else:
                        place.copy_(torch.mm(block.t(), x))
            if grad_features is not None:
                grad_features = add_to_features_gradient(grad_features, *margin, along_x)
            if grad_weight is not None:
                grad_weight = add_to_weight_gradient(grad_weight, *margin, along_w)
        return grad_features, grad_weight, None, None, None, None, None, None, None


def _blocks(weight: Tensor, class_block: int) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(weight), class_block):
        yield start, weight[start : start + class_block]


def _logits(x: Tensor, rows: Tensor) -> Tensor:
    return cast(torch.mm(x, cast(rows, x.dtype).t()), compute_dtype(x.dtype))


def _position(labels: Tensor, start: int, size: int) -> tuple[Tensor, Tensor]:
    """(N, 1) each: the target's column in this block, anything in it where the target lies elsewhere; and whether."""
    local = labels.unsqueeze(1) - start
    index = local.clamp(0, size - 1)
    return index, local == index
