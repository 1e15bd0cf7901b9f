"""Rows of length 1, and the cosines between them: what the normalised losses and the triplet term are made of."""

import torch
from torch import Tensor

from lsoftmax.autocast import no_autocast
from lsoftmax.margin import compute_dtype


def unit_rows(rows: Tensor) -> Tensor:
    """(K, D) -> (K, D) rows / |row| in float32 or better, whatever autocast says.

    A zero row stays zero, and its gradient is that of a row of length 1: finite, and it may leave zero.
    """
    with no_autocast(rows):
        rows = rows.to(compute_dtype(rows.dtype))
        norm = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        return rows / torch.where(norm > 0, norm, 1.0)


def cosines(features: Tensor, weight: Tensor) -> Tensor:
    """(N, D), (C, D) -> (N, C) cosines, 0 for a zero row, in float32 or better also under autocast.

    Half precision would round a cosine by up to 0.004, and a scale of 64 makes 0.25 of that in the logit.
    """
    with no_autocast(features):
        return unit_rows(features) @ unit_rows(weight).T
