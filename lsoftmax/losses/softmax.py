"""Softmax with cross-entropy, without bias: the paper's baseline row, and L-Softmax with m = 1 (Sec. 3)."""

import torch.nn.functional as F
from torch import Tensor

from lsoftmax.losses.criterion import Criterion


class Softmax(Criterion):
    """L = -log softmax(W x)_y, mean over the batch."""

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(features), labels)
