"""The losses as criteria: what a trainer holds, without knowing which one it has.

criterion = create(name, in_features, num_classes, **options)     an nn.Module
criterion(features, labels)             scalar loss, mean over the batch
criterion.logits(features)              (N, C) plain scores, no margin: what evaluation ranks
criterion.statistics(features, labels)  {name: 0-dim tensor}, for logged steps
criterion.weight, criterion.bias        (C, D); (C,) or None
"""

from typing import Any

from lsoftmax.losses.criterion import Criterion
from lsoftmax.losses.lsoftmax import LSoftmax
from lsoftmax.losses.softmax import Softmax

LOSSES: dict[str, type[Criterion]] = {
    "softmax": Softmax,
    "lsoftmax": LSoftmax,
}


def create(name: str, in_features: int, num_classes: int, **options: Any) -> Criterion:
    """The criterion called `name`. ValueError for an unknown name, TypeError for an option that it does not have."""
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; there are {', '.join(sorted(LOSSES))}")
    return LOSSES[name](in_features, num_classes, **options)


__all__ = ["LOSSES", "Criterion", "create"]
