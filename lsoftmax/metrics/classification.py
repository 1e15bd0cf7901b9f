"""Error rates of a classifier from its predictions."""

import torch
from torch import Tensor


def error_rate(predictions: Tensor, labels: Tensor) -> float:
    """Percent of (N,) predictions that differ from the (N,) labels. ValueError if there are none or shapes differ."""
    _check_shapes(predictions, labels)
    if labels.numel() == 0:
        raise ValueError("no predictions: an error rate of nothing is not defined")
    return 100 * int((predictions != labels).sum()) / labels.numel()


def confusion_matrix(predictions: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """(N,) predictions and labels -> (C, C) counts, int64: row = true class, column = predicted class.

    ValueError for a class outside 0..C-1, or if shapes differ.
    """
    _check_shapes(predictions, labels)
    for name, classes in (("predictions", predictions), ("labels", labels)):
        if classes.numel() and (classes.min() < 0 or classes.max() >= num_classes):
            raise ValueError(f"{name} must lie in 0..{num_classes - 1}, got {classes.min()}..{classes.max()}")
    cells = labels.long() * num_classes + predictions.long()  # uint8 would wrap
    return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes)


def per_class_error(confusion: Tensor) -> Tensor:
    """(C, C) counts -> (C,) percent of each true class that is missed, float64; nan for a class without samples."""
    counts = confusion.sum(dim=1).double()
    return 100 * (1 - confusion.diagonal().double() / counts)


def _check_shapes(predictions: Tensor, labels: Tensor) -> None:
    if predictions.shape != labels.shape:
        raise ValueError(f"predictions {tuple(predictions.shape)} and labels {tuple(labels.shape)} must match")
