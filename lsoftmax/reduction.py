"""The mean, the sum or nothing over the rows' losses, and the gradient that comes back from it."""

from torch import Tensor


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """(N, 1) losses -> 0-dim, or (N,) for "none"."""
    loss = loss.squeeze(1)
    if reduction == "mean":
        return (loss / loss.numel()).sum() if loss.numel() else loss.mean()  # the sum alone may leave float32's range
    return loss.sum() if reduction == "sum" else loss


def of_rows(grad: Tensor, reduction: str, rows: int) -> Tensor:
    """The gradient of `reduced` -> that of each row, something that broadcasts over (N, 1)."""
    if reduction == "none":
        return grad.unsqueeze(1)
    return grad / max(1, rows) if reduction == "mean" else grad
