"""What watching a run costs: lambda's controller and the guard at every step, the instruments at logged ones."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from lsoftmax.engine.guard import gradient_norm
from lsoftmax.engine.trainer import Trainer
from scripts.bench.measure import QUEUED, interleaved
from scripts.bench.runs import FAST, trainer_of

LOG_EVERY = 50  # steps, configs/trainer/default.yaml
ADAPTIVE = [
    "schedule.lam.kind=adaptive",
    "schedule.lam.guard=0.5",
    "data_download=false",
    "dataset.check_integrity=false",
]
NETWORKS = {  # small ones, where a fixed cost weighs most
    "mnist x 0.25": ["dataset=mnist", "model.width=0.25"],
    "cifar10 x 0.25": ["dataset=cifar10", "model.width=0.25"],
    "cifar100 x 0.25": ["dataset=cifar100", "model.width=0.25"],
}


def watch(seconds: float) -> Iterator[dict[str, Any]]:
    """Controller, guard and instruments, each in % of a compiled step of 128 images."""
    for name, overrides in NETWORKS.items():
        trainer = trainer_of([*overrides, *FAST, *ADAPTIVE, "trainer.log_every=1000000"])
        median = interleaved(_parts(trainer), seconds, queued=QUEUED)
        step = median.pop("step")
        each = {"controller": 1, "guard and gradient norm": 1, "instruments": LOG_EVERY}
        share = {part: 100 * value / each[part] / step for part, value in median.items()}
        yield {
            "network": name,
            "step ms": round(1000 * step, 1),
            **{f"{part} %": round(value, 3) for part, value in share.items()},
            "target %": 1.0,  # of the controller, and of instruments with the gradient's norm
        }


def _parts(trainer: Trainer) -> dict[str, Callable[[], Any]]:
    images, labels = trainer.loader.batch(0)
    trainer._step()  # compiles, and leaves gradients
    with torch.autocast(trainer.device.type, dtype=torch.bfloat16):
        features = trainer._forward(images.contiguous(memory_format=torch.channels_last)).detach()
        loss = trainer.criterion(features, labels).detach()

    def instruments() -> list[float]:
        values: list[float] = torch.stack(list(trainer.criterion.statistics(features, labels).values())).tolist()
        return values

    return {
        "step": trainer._step,
        "controller": lambda: trainer.annealing.follow(features, labels, trainer.guard.mask),
        "guard and gradient norm": lambda: trainer.guard.watch(0, loss, gradient_norm(trainer.parameters)),
        "instruments": instruments,
    }
