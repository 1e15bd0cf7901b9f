"""m, lambda and how the margin is put, as a module holds them: settable at every step, checked, free of recompiles."""

from collections.abc import Callable
from itertools import chain
from typing import Any, Self

import torch
from torch import Tensor, nn

from lsoftmax.checks import Gradient, MarginOn, check_lam, check_m, check_ways


class AnnealedMargin(nn.Module):
    """Mix-in for modules with a margin `m` and an annealing `lam`.

    Lambda lives in a float64 buffer of shape (1,): setting it neither recompiles nor synchronises, and torch.compile
    keeps what is written there, which it does not for a 0-dim one on the CPU. It is no part of the state_dict, since it
    is a function of the step.
    """

    _lam: Tensor
    _lam_without_memory: float = 0.0  # lambda as a number while the buffer is on the device meta

    def _set_margin(self, m: int, lam: float, gradient: Gradient, margin_on: MarginOn) -> None:
        """For `__init__`. ValueError if a value is out of range."""
        check_ways(gradient, margin_on)
        place = next(self.parameters()).device
        self.register_buffer("_lam", torch.zeros(1, dtype=_dtype(place), device=place), persistent=False)
        self.gradient, self.margin_on = gradient, margin_on
        self.m = m
        self.lam = lam

    def _margin(self) -> dict[str, Any]:
        """As the functions take it."""
        # torch 2.11's compiler calls a property's setter after the graph: within it the property alone knows the value.
        lam = self.lam if torch.compiler.is_compiling() else self._held()[0]
        return {"m": self.m, "lam": lam, "gradient": self.gradient, "margin_on": self.margin_on}

    @property
    def m(self) -> int:
        return self._m

    @m.setter
    def m(self, value: int) -> None:
        check_m(value)
        self._m = value

    @property
    def lam(self) -> Tensor:
        """0-dim, on the device: what lambda is now."""
        return self._held()[0].clone()

    @lam.setter
    def lam(self, value: float | Tensor) -> None:
        check_lam(value)
        if isinstance(value, Tensor):
            self._held().copy_(value.detach().reshape(1))  # else the buffer would join the graph of what it is set from
        else:
            self._held().zero_().add_(value)  # fill_ would be compiled anew for each value
        self._remember_without_memory(value)

    def _held(self) -> Tensor:
        """The buffer. The weights may have left meta without it (`load_state_dict(assign=True)`): then it follows."""
        if self._lam.is_meta and not self._place().is_meta:
            with torch.inference_mode(False):  # else it could never be set again
                self._lam = self._new_lam(self._lam_without_memory)
        return self._lam

    def _new_lam(self, value: float) -> Tensor:
        device = self._place().device
        return torch.full((1,), value, dtype=_dtype(device), device=device)

    def _place(self) -> Tensor:
        """Some other tensor of the module: lambda lies where it lies."""
        others = (buffer for name, buffer in self.named_buffers() if name != "_lam")
        return next(chain(self.parameters(), others), self._lam)

    def _remember_without_memory(self, value: float | Tensor) -> None:
        """`to_empty` has nothing else to go by."""
        if self._lam.is_meta and not (isinstance(value, Tensor) and value.is_meta):
            self._lam_without_memory = float(value)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        lam = self._lam
        del self._buffers["_lam"]  # half() must not round it
        try:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        finally:
            self._buffers["_lam"] = lam  # also where the device is not there
        if lam.is_meta:
            self._lam = self._new_lam(self._lam_without_memory)
        else:
            device = self._place().device
            self._lam = lam.to(device, _dtype(device))
            self._remember_without_memory(lam[0])
        return self

    def extra_repr(self) -> str:
        return f"m={self.m}, gradient={self.gradient}, margin_on={self.margin_on}"


def _dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64  # MPS has none
