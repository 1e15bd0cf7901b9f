"""Wrong arguments are named before any arithmetic: which one, its value, what is accepted."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from lsoftmax import autocast

Gradient = Literal["exact", "norms_live", "detached"]
MarginOn = Literal["all", "winners"]
Reduction = Literal["mean", "sum", "none"]

GRADIENTS, MARGIN_ON, REDUCTIONS = get_args(Gradient), get_args(MarginOn), get_args(Reduction)


def check_arguments(
    features: Tensor,
    weight: Tensor,
    labels: Tensor,
    m: int,
    lam: float | Tensor,
    gradient: str,
    margin_on: str,
) -> None:
    check_m(m)
    check_lam(lam)
    check_ways(gradient, margin_on)
    check_tensors(features, weight, labels)
    if isinstance(lam, Tensor) and lam.is_meta and not features.is_meta:
        raise ValueError("lam has no value: it is a tensor on the device meta, and the features are not")


def check_tensors(
    features: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None = None, *, same_dtype: bool = True
) -> None:
    """(N, D) and (C, D) of one floating dtype, or of any two, (N,) int64 in range, (C,) or None."""
    for name, tensor in (("features", features), ("weight", weight), ("labels", labels)):
        _check_tensor(name, tensor)
    if features.ndim != 2 or weight.ndim != 2 or features.shape[1] != weight.shape[1]:
        shapes = f"features {tuple(features.shape)} and weight {tuple(weight.shape)}"
        raise ValueError(f"features must be (N, D) and weight (C, D) with the same D, got {shapes}")
    _check_batch(features, labels)
    check_floating("weight", weight)
    if bias is not None:
        if bias.shape != weight.shape[:1]:
            raise ValueError(f"bias must be (C,) = ({weight.shape[0]},) or None, got {tuple(bias.shape)}")
        if bias.dtype != weight.dtype:
            raise TypeError(f"bias must have the weight's dtype {weight.dtype}, got {bias.dtype}")
    mixes = autocast.is_on(features) and torch.float64 not in (features.dtype, weight.dtype)
    if same_dtype and features.dtype != weight.dtype and not mixes:
        remedy = "; cast one, or call it where autocast is on"
        raise TypeError(f"features and weight must share a dtype, got {features.dtype} and {weight.dtype}{remedy}")
    check_labels(labels, weight.shape[0])


def check_pairs(features: Tensor, labels: Tensor) -> None:
    """(N, D) floating and (N,) int64, whose values only have to be equal or not: any class ids will do."""
    _check_tensor("features", features)
    _check_tensor("labels", labels)
    if features.ndim != 2:
        raise ValueError(f"features must be (N, D), got {tuple(features.shape)}")
    _check_batch(features, labels)


def _check_batch(features: Tensor, labels: Tensor) -> None:
    if labels.shape != features.shape[:1]:
        raise ValueError(f"labels must be (N,) = ({features.shape[0]},), got {tuple(labels.shape)}")
    if labels.dtype != torch.int64:
        raise TypeError(f"labels must be int64, got {labels.dtype}")
    check_floating("features", features)


def _check_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")


def check_floating(name: str, tensor: Tensor) -> None:
    if not tensor.dtype.is_floating_point:
        raise TypeError(f"{name} must have a floating dtype, got {tensor.dtype}")


def check_lam(lam: float | Tensor) -> None:
    """ValueError unless lam is a number >= 0 (inf included) or a 0-dim tensor; its value is read on the CPU alone."""
    if isinstance(lam, Tensor):
        if lam.ndim != 0:
            raise ValueError(f"lam must be a number or a 0-dim tensor, got shape {tuple(lam.shape)}")
        if _can_be_read(lam) and not (value := lam.item()) >= 0:
            raise ValueError(f"lam must be >= 0 (inf means no margin), got {value!r}")
    elif isinstance(lam, bool) or not isinstance(lam, int | float) or not lam >= 0:  # the last also for nan
        accepted = "a Python float or int >= 0 (inf means no margin) or a 0-dim tensor"
        raise ValueError(f"lam must be {accepted}, got {lam!r}")


def check_ways(gradient: str, margin_on: str) -> None:
    """ValueError unless they are of `Gradient` and `MarginOn`."""
    check_choice("gradient", gradient, GRADIENTS)
    check_choice("margin_on", margin_on, MARGIN_ON)


def check_reduction(reduction: str) -> None:
    """ValueError unless it is one of `Reduction`."""
    check_choice("reduction", reduction, REDUCTIONS)


def check_class_block(class_block: int | None) -> None:
    """ValueError unless it is None or an int >= 1."""
    if class_block is not None and (type(class_block) is not int or class_block < 1):
        raise ValueError(f"class_block must be None or an integer >= 1, got {class_block!r}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """ValueError unless the value is among the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be {', '.join(choices[:-1])} or {choices[-1]}, got {value!r}")


def check_number(name: str, value: float, *, above: float | None = None, below: float = math.inf) -> None:
    """ValueError unless it is a number (no bool) > `above`, or >= 0 if that is None, and < `below`; nan is none."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and (value >= 0 if above is None else value > above) and value < below):
        accepted = ">= 0" if above is None else f"> {above:g}"
        most = "" if below == math.inf else f" and < {below:g}"
        raise ValueError(f"{name} must be a finite number {accepted}{most}, got {value!r}")


def check_labels(labels: Tensor, num_classes: int) -> None:
    """ValueError if a label on the CPU lies outside 0..num_classes-1; elsewhere, and in a graph, no check."""
    if not _can_be_read(labels) or labels.numel() == 0:
        return
    low, high = (int(value) for value in labels.aminmax())
    if low < 0 or high >= num_classes:
        said = f"{low}; rows without a label are to be left out" if low < 0 else f"{high}"
        raise ValueError(f"labels must lie in 0..{num_classes - 1}, got {said}")


def _can_be_read(tensor: Tensor) -> bool:
    """Whether its values are there without waiting for a device, and are no part of a graph that is being made.

    A FakeTensor (of a private module of torch, hence by its name) has none, whatever its device.
    """
    in_graph = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return tensor.device.type == "cpu" and not in_graph and type(tensor).__name__ != "FakeTensor"


def check_m(m: int) -> None:
    """ValueError unless m is a Python int >= 1 (2.0 and True are not)."""
    if type(m) is not int or m < 1:
        remedy = "the paper uses 2, 3 and 4" if type(m) is int else "give a Python int"
        raise ValueError(f"m must be an integer >= 1, got {m!r}; {remedy}")
