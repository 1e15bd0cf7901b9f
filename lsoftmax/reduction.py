"""From the rows' gaps to the loss: log(1 + exp(gap)), the mean, the sum or nothing over them, and the way back."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lsoftmax.margin import compute_dtype


def softplus(gap: Tensor) -> Tensor:
    """log(1 + exp(gap)) to full precision at both ends: torch's own threshold of 20 is too low for float64."""
    if gap.device.type == "mps":  # its softplus takes log(1 + x) as it stands, and has no digits left where x is small
        return torch.logaddexp(gap, gap.new_zeros(()))
    return F.softplus(gap, threshold=40.0)


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """(N,) losses -> 0-dim, or they themselves for "none"."""
    if reduction == "mean":
        return (loss / loss.numel()).sum() if loss.numel() else loss.mean()  # the sum alone may leave float32's range
    return loss.sum() if reduction == "sum" else loss


def of_rows(grad: Tensor, reduction: str, rows: int) -> Tensor:
    """The gradient of `reduced` -> that of each row, something that broadcasts over (N, 1)."""
    if reduction == "none":
        return grad.unsqueeze(1)
    return grad / max(1, rows) if reduction == "mean" else grad


def cross_entropy(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """`F.cross_entropy` in float32 or better: logits of half precision are rounded once, their loss is not."""
    return F.cross_entropy(logits.to(compute_dtype(logits.dtype)), labels, reduction=reduction)
