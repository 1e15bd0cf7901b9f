"""Batch normalisation with PReLU, and 2 x 2 max pooling, for compiled training on a CPU: the same functions, faster.

What the compiler makes of the stock operators costs over half as much as the convolutions: sums that wait for one
another, values written only to be read again, a pool whose gradient is scattered number by number. Here each pass over
the maps is one loop over whole vectors. Maps lie in memory channels last, as (N, H, W, C).

The mathematics is that of nn.BatchNorm2d, nn.PReLU and nn.MaxPool2d; statistics and sums are float32, and a value is
rounded once, at the end. With s = weight / sqrt(var + eps), z = s (x - mean) + bias, M the pixels of a channel, and
dz = dL/dz = dy where z > 0, else slope dy:

    dL/dx = s (dz - sum(dz) / M - (x - mean) sum(dz (x - mean)) / (M (var + eps)))
"""

from typing import Any

import torch
from torch import Tensor, nn


def fits(maps: Tensor) -> bool:
    """Whether these are maps of the kind that the functions here are made for; asked while a network is compiled."""
    return (
        torch.compiler.is_compiling()
        and maps.device.type == "cpu"
        and maps.dtype in (torch.float32, torch.bfloat16)
        and maps.is_contiguous(memory_format=torch.channels_last)
    )


def is_usual(bn: nn.BatchNorm2d) -> bool:
    """Whether it takes the batch's statistics and follows them: in a network that trains it may be frozen."""
    return bn.training and bn.momentum is not None and bn.running_mean is not None


def normalize_activate(maps: Tensor, bn: nn.BatchNorm2d, slope: Tensor) -> Tensor:
    """PReLU(bn(maps)) in training mode, (N, C, H, W) -> the same; updates bn's running statistics.

    maps: float32 or bfloat16, more than one pixel a channel. slope: (C,), PReLU's.
    """
    assert bn.running_mean is not None and bn.running_var is not None and bn.num_batches_tracked is not None
    assert bn.momentum is not None
    arguments = (maps, bn.weight, bn.bias, slope, bn.running_mean, bn.eps)
    out, mean, var = _NormalizeActivate.apply(*arguments)  # type: ignore[no-untyped-call]
    pixels = _pixels(maps)
    with torch.no_grad():
        bn.running_mean.lerp_(mean, bn.momentum)
        bn.running_var.lerp_(var * (pixels / (pixels - 1)), bn.momentum)
        bn.num_batches_tracked.add_(1)
    return out  # type: ignore[no-any-return]


def max_pool(maps: Tensor) -> Tensor:
    """F.max_pool2d(maps, 2), (N, C, H, W) -> (N, C, H / 2, W / 2), for even H and W; of equal values the first counts.

    NaN comes out where all of a window is NaN, as it is after a batch normalisation.
    """
    return _MaxPool.apply(maps)  # type: ignore[no-any-return, no-untyped-call]


class _NormalizeActivate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, slope: Tensor, running_mean: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """-> activated maps, and the batch's mean and variance (not Bessel's), (C,) each."""
        pixels, x = _pixels(maps), maps.permute(0, 2, 3, 1).float()
        # E[x^2] - E[x]^2 is one pass; around the running mean, which is near the batch's own, it loses no digits.
        shifted = x - running_mean
        offset = _total(shifted) / pixels
        var = (_total(shifted * shifted) / pixels - offset * offset).clamp_min(0)
        mean, inverse = running_mean + offset, torch.rsqrt(var + eps)
        scale = _written(weight * inverse)
        shift = _written(bias - mean * scale)
        z = x * scale + shift
        out = torch.where(z > 0, z, z * slope).to(maps.dtype)
        ctx.save_for_backward(maps, bias, slope, mean, inverse, scale, shift)
        ctx.mark_non_differentiable(mean, var)
        return out.permute(0, 3, 1, 2), mean, var

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: None, __: None) -> tuple[Tensor | None, ...]:
        maps, bias, slope, mean, inverse, scale, shift = ctx.saved_tensors
        pixels = _pixels(maps)
        x, dy = (values.permute(0, 2, 3, 1).float() for values in (maps, grad))
        positive = x * scale + shift > 0
        negative, centred = torch.where(positive, 0.0, dy), x - mean
        # sum(dz), sum(dz (x - mean)), and sum(dy z) over z <= 0: from four sums that read no more than x and dy.
        all_0, all_1, below_0, below_1 = (_total(v) for v in (dy, dy * centred, negative, negative * centred))
        sum_0, sum_1 = all_0 + (slope - 1) * below_0, all_1 + (slope - 1) * below_1
        grad_slope = scale * below_1 + bias * below_0
        # dL/dx = s dz + along x + constant: two multiply-adds a pixel.
        along = _written(-scale * inverse * inverse * sum_1 / pixels)
        constant = _written(-scale * sum_0 / pixels - along * mean)
        dz = torch.where(positive, dy * scale, dy * _written(scale * slope))
        dx = (dz + (x * along + constant)).to(maps.dtype)
        return dx.permute(0, 3, 1, 2), sum_1 * inverse, sum_0, grad_slope, None, None


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        values = _written(maps.permute(0, 2, 3, 1))
        a, b, c, d = (values[:, row::2, column::2].float() for row in (0, 1) for column in (0, 1))
        top, bottom = torch.where(b > a, b, a), torch.where(d > c, d, c)
        # Which of the four, 0 to 3: as floats, since the compiler converts bytes one by one.
        which = torch.where(bottom > top, torch.where(d > c, 3.0, 2.0), torch.where(b > a, 1.0, 0.0))
        ctx.save_for_backward(which.to(maps.dtype))
        return torch.where(bottom > top, bottom, top).to(maps.dtype).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (which,) = ctx.saved_tensors
        grad = grad.permute(0, 2, 3, 1)
        n, height, width, channels = grad.shape
        place = torch.arange(4, dtype=torch.float32, device=grad.device).view(2, 1, 2, 1)
        chosen = which[:, :, None, :, None].float() == place  # (N, H / 2, 2, W / 2, 2, C)
        maps = torch.where(chosen, grad[:, :, None, :, None], 0.0)
        return _written(maps.reshape(n, 2 * height, 2 * width, channels)).permute(0, 3, 1, 2)


def _pixels(maps: Tensor) -> int:
    """Of one channel, in all images."""
    return maps.numel() // maps.shape[1]


def _total(values: Tensor) -> Tensor:
    """(N, H, W, C) -> (C,): image by image, then over the images; short sums are precise, and need no cascade."""
    return values.sum((1, 2)).sum(0)


def _written(values: Tensor) -> Tensor:
    """The values themselves, once in memory: the compiler would compute them anew at every pixel that uses them."""
    return values.as_strided(values.shape, values.stride())
