"""Softmax with cross-entropy, without bias: the paper's baseline row, and L-Softmax with m = 1."""

from torch import Tensor

from lsoftmax.losses.criterion import Criterion
from lsoftmax.reduction import cross_entropy


class Softmax(Criterion):
    """L = -log softmax(W x)_y, mean over the batch."""

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(self.logits(features), labels)
