"""The mean of the training images, which is all the preprocessing the paper does."""

from typing import Literal

import torch
from torch import Tensor

from lsoftmax.errors import UserError

MeanKind = Literal["image", "channel"] | float
CHUNK = 1_024  # images at a time: summed in int64, the whole set would be eight times its size


def training_mean(images: Tensor, kind: MeanKind) -> Tensor:
    """What is subtracted from every image: float32, broadcast over (N, C, H, W).

    images: (N, C, H, W) uint8, N >= 1.
    kind: "image" -> (C, H, W), a mean for every pixel; "channel" -> (C, 1, 1); a number -> (C, 1, 1) filled with it.
    """
    channels = images.shape[1]
    if isinstance(kind, (int, float)):
        return torch.full((channels, 1, 1), float(kind))
    if kind not in ("image", "channel"):
        raise UserError(f"dataset.mean={kind}: must be image, channel or a number")
    # Integers: exact, so that the mean does not depend on the chunks or the number of threads.
    total = torch.zeros(images.shape[1:], dtype=torch.int64)
    for chunk in torch.split(images, CHUNK):
        total += chunk.sum(0)
    mean = total.double() / len(images)  # (C, H, W)
    return (mean if kind == "image" else mean.mean((1, 2), keepdim=True)).float()
