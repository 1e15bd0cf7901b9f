"""One entry of each row: the target's. logits (N, C), labels (N,)."""

import torch
from torch import Tensor


def target_of(logits: Tensor, labels: Tensor) -> Tensor:
    """(N,): each row's own logit."""
    return logits.gather(1, labels.unsqueeze(1)).squeeze(1)


def replace_target(logits: Tensor, labels: Tensor, target: Tensor) -> Tensor:
    """(N, C): a copy with `target` (N,) in the place of each row's own logit."""
    return logits.scatter(1, labels.unsqueeze(1), target.unsqueeze(1))


def strongest_rival(logits: Tensor, labels: Tensor) -> Tensor:
    """(N,): the largest logit but the target's; -inf where there is one class alone."""
    return logits.scatter(1, labels.unsqueeze(1), -torch.inf).amax(dim=1)
