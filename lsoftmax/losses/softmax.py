"""Softmax with cross-entropy, without bias: the paper's baseline row, and L-Softmax with m = 1 (Sec. 3)."""

import torch.nn.functional as F
from torch import Tensor

from lsoftmax.losses.criterion import Criterion
from lsoftmax.margin import compute_dtype


class Softmax(Criterion):
    """L = -log softmax(W x)_y, mean over the batch."""

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(self.logits(features), labels)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """`F.cross_entropy` in float32 or better: logits of half precision are rounded once, their loss is not."""
    return F.cross_entropy(logits.to(compute_dtype(logits.dtype)), labels)
