"""Autocast as the losses see it, on any device: meta, where nothing but shapes is computed, knows none."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def is_on(tensor: Tensor) -> bool:
    device = tensor.device.type
    return device != "meta" and torch.is_autocast_enabled(device)


def no_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    return torch.autocast(tensor.device.type, enabled=False) if is_on(tensor) else nullcontext()


def matmul_dtype(features: Tensor) -> torch.dtype:
    """The dtype in which nn.Linear would multiply: autocast's where it is on, which leaves float64 alone."""
    if is_on(features) and features.dtype != torch.float64:
        return torch.get_autocast_dtype(features.device.type)
    return features.dtype
