"""The mean of the training images, which is all the preprocessing the paper does."""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from lsoftmax.errors import UserError

from .sets import CHUNK

MeanKind = Literal["image", "channel"] | float


def training_mean(images: Tensor | Iterable[Tensor], kind: MeanKind) -> Tensor:
    """What is subtracted from every image: float32, broadcast over (N, C, H, W).

    images: (N, C, H, W) uint8, N >= 1; or such pieces of them, one after the other.
    kind: "image" -> (C, H, W), a mean for every pixel; "channel" -> (C, 1, 1); a number -> (C, 1, 1) filled with it.
    """
    # Pieces: summed in int64, the whole set would be eight times its size.
    pieces = iter(torch.split(images, CHUNK) if isinstance(images, Tensor) else images)
    first = next(pieces)
    if isinstance(kind, (int, float)):
        return torch.full((first.shape[1], 1, 1), float(kind))
    if kind not in ("image", "channel"):
        raise UserError(f"dataset.mean={kind}: must be image, channel or a number")
    # Integers: exact, so that the mean does not depend on the pieces or the number of threads.
    total, count = first.sum(0), len(first)
    for piece in pieces:
        total += piece.sum(0)
        count += len(piece)
    mean = total.double() / count  # (C, H, W)
    return (mean if kind == "image" else mean.mean((1, 2), keepdim=True)).float()
