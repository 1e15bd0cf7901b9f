"""Watches for non-finite losses and gradients on the device; the host asks only when it logs, evaluates or saves."""

import torch
from torch import Tensor, nn


class Guard:
    """Remembers the first step whose loss or gradient was not finite, and masks the update of that and later steps."""

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self._first_bad = torch.full((), -1.0, device=device)
        self._mask = torch.zeros((), device=device)
        optimizer.found_inf = self._mask  # type: ignore[attr-defined]  # read by the fused step, on the device

    def watch(self, step: int | Tensor, loss: Tensor, gradient_norm: Tensor) -> None:
        """To be called before the optimiser's step. step: a number, or a 0-dim float32 tensor on the device."""
        number = step if isinstance(step, Tensor) else float(step)
        broken = ~torch.isfinite(loss.detach() + gradient_norm)
        self._first_bad.copy_(torch.where(broken & (self._first_bad < 0), number, self._first_bad))
        self._mask.copy_(self._first_bad >= 0)

    @property
    def mask(self) -> Tensor:
        """0-dim: 1 from the first bad step on, else 0; nothing waits for it."""
        return self._mask

    def first_bad_step(self) -> int | None:
        """Synchronises. float32 holds step numbers to 16 million exactly."""
        step = int(self._first_bad.item())
        return step if step >= 0 else None

    def reset(self) -> None:
        self._first_bad.fill_(-1.0)
        self._mask.zero_()


def gradient_norm(module_parameters: list[nn.Parameter]) -> Tensor:
    """Euclidean norm of all gradients together, 0-dim, on the device."""
    gradients = [p.grad for p in module_parameters if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)
