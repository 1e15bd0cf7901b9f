"""Wrong arguments are named before any arithmetic: which one, its value, what is accepted."""

from typing import Literal

import torch
from torch import Tensor

Gradient = Literal["exact", "norms_live", "detached"]
Reduction = Literal["mean", "sum", "none"]


def check_arguments(
    features: Tensor, weight: Tensor, labels: Tensor, m: int, lam: float | Tensor, gradient: str
) -> None:
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


def check_m(m: int) -> None:
    """ValueError unless m is a Python int >= 1 (2.0 and True are not)."""
    if type(m) is not int or m < 1:
        raise ValueError(f"m must be an integer >= 1, got {m!r}; the paper uses 2, 3 and 4")
