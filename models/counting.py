"""What a network costs: parameters, and multiply-adds per image."""

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def count_parameters(module: nn.Module) -> int:
    """Values that an optimiser sees; the running statistics of batch normalisation are not among them."""
    return sum(parameter.numel() for parameter in module.parameters())


def multiply_adds(module: nn.Module, image_shape: Sequence[int]) -> int:
    """Multiply-adds of the convolutions and linear layers for one image of `image_shape` (C, H, W).

    One for each use of a weight; biases, normalisation, activations and pooling are not counted. `module` itself is not
    run: a copy on the meta device is, where tensors have a shape and no values, and nothing is computed or drawn.
    """
    total = 0

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer.weight, Tensor)
        positions = math.prod(output.shape[2:])  # (1, out, H, W) or (1, out): every weight is used once at each
        total += layer.weight.numel() * positions

    ghost = copy.deepcopy(module).to(device="meta", dtype=torch.float32).eval()
    for layer in ghost.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(add)
    with torch.no_grad():
        ghost(torch.empty(1, *image_shape, device="meta"))
    return total
