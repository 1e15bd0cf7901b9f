"""A pass over a set in order: plain scores, evaluation mode, float32."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lsoftmax.losses import Criterion
from lsoftmax.metrics import ClassCosines, CosineSums, error_rate

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]  # a fresh pass over (images (B, C, H, W), labels (B,))


@dataclass(frozen=True)
class Evaluation:
    predictions: Tensor  # (N,) int64, CPU
    labels: Tensor  # (N,) int64, CPU
    cosines: ClassCosines  # of the features

    @property
    def error(self) -> float:
        """Percent."""
        return error_rate(self.predictions, self.labels)


@contextmanager
def evaluating(backbone: nn.Module) -> Iterator[None]:
    """In evaluation mode; afterwards each part is in the mode it was in: some may be frozen."""
    training = [module for module in backbone.modules() if module.training]
    backbone.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@torch.no_grad()
def evaluate(
    backbone: nn.Module, criterion: Criterion, batches: Batches, between: Callable[[], object] = lambda: None
) -> Evaluation:
    """Predictions of the plain logits. `between` is called before each batch, and may raise. No synchronisation before
    the end."""
    predictions, labels = [], []
    num_classes, feature_size = criterion.weight.shape
    cosines = CosineSums(num_classes, feature_size, criterion.weight.device)
    with evaluating(backbone):
        for images, targets in batches():
            between()
            features = backbone(images)
            predictions.append(criterion.logits(features).argmax(dim=1))
            cosines.update(features, targets)
            labels.append(targets)
    return Evaluation(torch.cat(predictions).cpu(), torch.cat(labels).cpu(), cosines.compute())
