"""Augmentation of a whole batch at once: what is drawn is apart from what is done with it.

(N, C, H, W) images with the mean already subtracted, so that 0 is the neutral padding.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Augmentation = Literal["none", "mirror", "crop_mirror"]
PADDING = 4  # Lee et al. 2015: the "+" of CIFAR10+


def augment(images: Tensor, kind: Augmentation, generator: torch.Generator) -> Tensor:
    """Draw from `generator`, which lives on the device of `images`, and apply."""
    if kind == "crop_mirror":
        images = crop(images, draw_offsets(len(images), generator), PADDING)
    if kind != "none":
        images = mirror(images, draw_flips(len(images), generator))
    return images


def draw_offsets(count: int, generator: torch.Generator, padding: int = PADDING) -> Tensor:
    """(N, 2) int64: row and column of the window's corner in the padded image, uniform in 0 .. 2 * padding."""
    return torch.randint(0, 2 * padding + 1, (count, 2), generator=generator, device=generator.device)


def draw_flips(count: int, generator: torch.Generator) -> Tensor:
    """(N,) bool, true with probability 1/2."""
    return torch.randint(0, 2, (count,), generator=generator, device=generator.device).bool()


def mirror(images: Tensor, flips: Tensor) -> Tensor:
    """Left and right exchanged in the images where `flips` (N,) is true."""
    return torch.where(flips[:, None, None, None], images.flip(-1), images)


def crop(images: Tensor, offsets: Tensor, padding: int) -> Tensor:
    """Windows of the images' own size out of the zero-padded images, their upper left corners at `offsets` (N, 2)."""
    count, channels, height, width = images.shape
    padded = F.pad(images, (padding,) * 4).contiguous()
    padded_height, padded_width = padded.shape[2:]

    # A window is `height` runs of `width` neighbours in memory, for every channel. Copying runs instead of indexing
    # pixels was eight times faster on a CPU.
    runs = padded.as_strided((padded.numel() - width + 1, width), (1, 1))  # every run there is, overlapping
    planes = torch.arange(count * channels, device=images.device).view(count, channels, 1)
    rows = torch.arange(height, device=images.device) + offsets[:, None, :1]  # (N, 1, H)
    starts = (planes * padded_height + rows) * padded_width + offsets[:, None, 1:]  # (N, C, H)
    return runs.index_select(0, starts.flatten()).view(count, channels, height, width)
