"""m, lambda and how the margin is put, as a module holds them: settable at every step, checked, free of recompiles."""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from lsoftmax.checks import MARGIN_ON, Gradient, MarginOn, check_choice, check_gradient, check_lam, check_m


class AnnealedMargin(nn.Module):
    """Mix-in for modules with a margin `m` and an annealing `lam`.

    Lambda lives in a 0-dim float64 buffer: setting it neither recompiles nor synchronises. It is no part of the
    state_dict, since it is a function of the step.
    """

    _lam: Tensor

    def _set_margin(self, m: int, lam: float, gradient: Gradient, margin_on: MarginOn) -> None:
        """For `__init__`. ValueError if a value is out of range."""
        check_gradient(gradient)
        check_choice("margin_on", margin_on, MARGIN_ON)
        self.register_buffer("_lam", torch.zeros((), dtype=torch.float64), persistent=False)
        self.gradient, self.margin_on = gradient, margin_on
        self.m = m
        self.lam = lam

    def _margin(self) -> dict[str, Any]:
        """As the functions take it."""
        return {"m": self.m, "lam": self.lam, "gradient": self.gradient, "margin_on": self.margin_on}

    @property
    def m(self) -> int:
        return self._m

    @m.setter
    def m(self, value: int) -> None:
        check_m(value)
        self._m = value

    @property
    def lam(self) -> Tensor:
        return self._lam

    @lam.setter
    def lam(self, value: float | Tensor) -> None:
        check_lam(value)
        if isinstance(value, Tensor):
            self._lam.copy_(value)
        else:
            self._lam.fill_(value)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        lam = self._buffers.pop("_lam")  # half() must not round it, and MPS has no float64
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        device = next(self.parameters()).device
        assert lam is not None
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self._buffers["_lam"] = torch.zeros((), dtype=dtype, device=device) if lam.is_meta else lam.to(device, dtype)
        return self

    def extra_repr(self) -> str:
        return f"m={self.m}, gradient={self.gradient}, margin_on={self.margin_on}"
