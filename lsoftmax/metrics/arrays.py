"""Arrays, tensors and lists in; checked tensors out."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

Array = Any  # a torch.Tensor, a numpy.ndarray or a sequence of numbers: torch alone is needed


def as_tensor(values: Array) -> Tensor:
    """The values as a tensor. Whatever is no tensor is copied: a read-only array would make torch warn."""
    if isinstance(values, Tensor):
        return values.detach()
    dtype = getattr(values, "dtype", None)
    if getattr(dtype, "kind", "") == "f" and dtype is not None:
        if dtype.itemsize > 8:
            raise ValueError(f"{dtype} is wider than torch's floats: give float64")
        if not dtype.isnative:  # torch takes the machine's byte order alone
            values = values.astype(dtype.newbyteorder("="))
    tensor = torch.tensor(values)
    if tensor.is_floating_point() and not hasattr(values, "dtype"):
        return torch.tensor(values, dtype=torch.float64)  # Python's numbers are doubles; torch would take float32
    return tensor


def pair_scores(scores: Array, same: Array) -> tuple[Tensor, Tensor]:
    """(P,) float64 and (P,) bool on the CPU.

    Raises:
        ValueError: for shapes that do not fit, no pairs, a score that is not finite (names the pair), a label other
            than 0 and 1.
    """
    values, labels = as_tensor(scores).cpu().double(), pair_labels(same)
    if values.ndim != 1 or values.shape != labels.shape:
        raise ValueError(f"scores {tuple(values.shape)} and same {tuple(labels.shape)} must both be (P,)")
    for index in _where(~torch.isfinite(values)):
        raise ValueError(f"the score of pair {index} is {values[index].item()}: scores must be finite")
    return values, labels


def pair_labels(same: Array) -> Tensor:
    """(P,) bool on the CPU; ValueError if there are none, or one is other than 0 or 1."""
    labels = as_tensor(same).cpu()
    if labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"same must be (P,) with at least one pair, got {tuple(labels.shape)}")
    for index in _where((labels != 0) & (labels != 1)):
        raise ValueError(f"same holds {labels[index].item()} for pair {index}: it must be 1 (same person) or 0")
    return labels.bool()


def embeddings(values: Array, name: str) -> Tensor:
    """(N, D) floats; ValueError for another shape or dtype, or a row that is not finite or all zero (names it)."""
    features = as_tensor(values)
    if features.ndim != 2 or 0 in features.shape or not features.is_floating_point():
        raise ValueError(f"{name} must be (N, D) floats, got {features.dtype} {tuple(features.shape)}")
    check_norms(torch.linalg.vector_norm(features, dim=1, dtype=torch.float64), name)
    return features


def check_features_with_labels(features: Tensor, labels: Tensor) -> None:
    """ValueError unless these are (N, D) finite numbers and (N,) labels."""
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            f"features must be (N, D) and labels (N,), got {tuple(features.shape)} and {tuple(labels.shape)}"
        )
    if not bool(torch.isfinite(features).all()):
        raise ValueError("features must be finite")


def check_norms(norms: Tensor, name: str, first: int = 0) -> None:
    """ValueError that names the first row (counted from `first`) whose norm is zero, nan or infinite."""
    for index in _where(~torch.isfinite(norms) | (norms == 0)):
        what = "is all zero" if norms[index] == 0 else "is not finite"
        raise ValueError(f"row {first + index} of {name} {what}: it has no direction to compare")


def _where(bad: Tensor) -> Iterator[int]:
    """The first index that is set, if any."""
    if bad.any():
        yield int(bad.nonzero()[0])
