"""SGD with Caffe's parameter groups: weights decay; biases learn twice as fast and do not, nor do BN and PReLU.

torch keeps the gradient in the momentum buffer, Caffe the gradient times the learning rate: the same while the rate is
constant, a faster forgetting after each drop.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from lsoftmax.engine.plan import Plan


def build_optimizer(backbone: nn.Module, criterion: nn.Module, plan: Plan) -> torch.optim.SGD:
    """One fused SGD; each group carries its `lr_factor`, which `set_learning_rate` multiplies with the schedule's."""
    decay = plan.weight_decay
    own_decay = plan.classifier_weight_decay
    groups = [
        {"params": list(_weights(backbone)), "lr_factor": 1.0, "weight_decay": decay},
        {"params": list(_biases(backbone)), "lr_factor": 2.0, "weight_decay": 0.0},
        {"params": list(_scales(backbone)), "lr_factor": 1.0, "weight_decay": 0.0},
        {
            "params": [criterion.weight],
            "lr_factor": plan.classifier_lr_factor,
            "weight_decay": decay if own_decay is None else own_decay,
        },
    ]
    if criterion.bias is not None:
        groups.append({"params": [criterion.bias], "lr_factor": 2.0 * plan.classifier_lr_factor, "weight_decay": 0.0})
    groups.append({"params": list(_others(criterion)), "lr_factor": plan.classifier_lr_factor, "weight_decay": 0.0})
    groups = [group for group in groups if group["params"]]
    # fused: it honours `found_inf`, by which the guard masks updates without a synchronisation.
    return torch.optim.SGD(groups, lr=plan.lr(0), momentum=plan.momentum, fused=True)


def _others(criterion: nn.Module) -> Iterator[nn.Parameter]:
    """What a loss of one's own learns beside class weights: none of ours does."""
    known = {id(criterion.weight), id(criterion.bias)}
    return (p for p in criterion.parameters() if id(p) not in known)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """load_state_dict, with momentum laid out in memory as the parameters are: the fused step walks both blindly, and
    a checkpoint may come from a run with another memory format."""
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        if values.get("momentum_buffer") is not None:
            values["momentum_buffer"] = torch.empty_like(parameter).copy_(values["momentum_buffer"])


def _weights(backbone: nn.Module) -> Iterator[nn.Parameter]:
    """Kernels and matrices."""
    return (p for p in backbone.parameters() if p.ndim > 1)


def _biases(backbone: nn.Module) -> Iterator[nn.Parameter]:
    """Biases of convolutions and linear layers."""
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            yield module.bias  # type: ignore[misc]


def _scales(backbone: nn.Module) -> Iterator[nn.Parameter]:
    """What is left: slope and shift of batch normalisation, slopes of PReLU."""
    biases = {id(p) for p in _biases(backbone)}
    return (p for p in backbone.parameters() if p.ndim <= 1 and id(p) not in biases)
