"""The losses as criteria: what a trainer holds, without knowing which one it has.

criterion = create(name, in_features, num_classes, **options)     an nn.Module
criterion(features, labels)             scalar loss, mean over the batch
criterion.logits(features)              (N, C) plain scores, no margin: what evaluation ranks
criterion.statistics(features, labels)  {name: 0-dim tensor}, for logged steps
criterion.required_lambda(features, labels)   (N,), where the loss has an annealed margin
criterion.class_norms()                 (C,), likewise
criterion.weight, criterion.bias        (C, D); (C,) or None

Each loss is a pure function too, for training loops of one's own: NAME_cross_entropy or NAME_loss.
"""

from typing import Any

from lsoftmax.losses.arcface import ArcFace, arcface_cross_entropy, arcface_logits
from lsoftmax.losses.asoftmax import ASoftmax, asoftmax_cross_entropy, asoftmax_logits
from lsoftmax.losses.contrastive import Contrastive, contrastive_loss
from lsoftmax.losses.cosface import CosFace, cosface_cross_entropy, cosface_logits
from lsoftmax.losses.criterion import Criterion
from lsoftmax.losses.hinge import Hinge, hinge_loss
from lsoftmax.losses.lsoftmax import LSoftmax
from lsoftmax.losses.softmax import Softmax
from lsoftmax.losses.triplet import Triplet, triplet_loss

LOSSES: dict[str, type[Criterion]] = {
    "softmax": Softmax,
    "lsoftmax": LSoftmax,
    "hinge": Hinge,
    "contrastive": Contrastive,
    "triplet": Triplet,
    "asoftmax": ASoftmax,
    "cosface": CosFace,
    "arcface": ArcFace,
}


def create(name: str, in_features: int, num_classes: int, **options: Any) -> Criterion:
    """The criterion called `name`. ValueError for an unknown name, TypeError for an option that it does not have."""
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; there are {', '.join(sorted(LOSSES))}")
    return LOSSES[name](in_features, num_classes, **options)


__all__ = [
    "LOSSES",
    "ASoftmax",
    "ArcFace",
    "Contrastive",
    "CosFace",
    "Criterion",
    "Hinge",
    "LSoftmax",
    "Softmax",
    "Triplet",
    "arcface_cross_entropy",
    "arcface_logits",
    "asoftmax_cross_entropy",
    "asoftmax_logits",
    "contrastive_loss",
    "cosface_cross_entropy",
    "cosface_logits",
    "create",
    "hinge_loss",
    "triplet_loss",
]
