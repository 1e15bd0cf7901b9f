"""What a network costs: parameters, and multiply-adds per image."""

import copy
import math
from collections.abc import Callable, Sequence

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

    def uses(layer: nn.Module, output: Tensor) -> int:
        assert isinstance(layer.weight, Tensor)
        return layer.weight.numel() * math.prod(output.shape[2:])  # (1, out, H, W) or (1, out): once at each position

    return _sum_over_layers(module, image_shape, uses)


def output_values(module: nn.Module, image_shape: Sequence[int]) -> int:
    """Values that the convolutions and linear layers put out for one image of `image_shape` (C, H, W)."""
    return _sum_over_layers(module, image_shape, lambda _, output: output.numel())


def _sum_over_layers(module: nn.Module, image_shape: Sequence[int], count: Callable[[nn.Module, Tensor], int]) -> int:
    """`count` of each convolution and linear layer and its output for one image, summed."""
    total = 0

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += count(layer, output)

    ghost = copy.deepcopy(module).to(device="meta", dtype=torch.float32).eval()
    for layer in ghost.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(add)
    with torch.no_grad():
        ghost(torch.empty(1, *image_shape, device="meta"))
    return total
