"""Everything that the next step depends on: what a checkpoint holds."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lsoftmax.controllers import AdaptiveLambda, PlateauLR
from lsoftmax.engine import checkpoint
from lsoftmax.engine.device import is_memory_error
from lsoftmax.engine.optimizer import load_optimizer
from lsoftmax.engine.rng import random_state, restore_random_state
from lsoftmax.errors import UserError, one_line
from lsoftmax.losses import Criterion


@dataclass
class Progress:
    """Where a run stands, apart from tensors."""

    step: int = 0  # optimiser steps done
    curve: list[list[float | None]] = field(default_factory=list)  # [step, train_error, test_error]
    trace: list[dict[str, Any]] = field(default_factory=list)  # the logged lines of the evaluated steps
    seen_errors: list[float] = field(default_factory=list)  # train_error of logged steps since the last evaluation
    pending: dict[str, Any] | None = None  # the last logged step, until its line is written
    lambda_floor: float = 0.0
    divergences: list[dict[str, Any]] = field(default_factory=list)
    all_there: bool = False  # no class was given up at the last logged step
    restarts: int = 0  # how often the process was started again
    seconds: float = 0.0
    precisions: list[str] = field(default_factory=list)  # all that were used, in order

    @property
    def written(self) -> int:
        """Up to which step the log is complete."""
        return self.step if self.pending is None else self.step - 1


class OtherData(UserError):
    """The checkpoint was made on other data."""


class RunState:
    """Networks, optimiser, controller, random generators and progress, to be saved and loaded as one.

    Args:
        backbone, criterion, optimizer: what is trained.
        identity: what was asked, as plain containers; a checkpoint carries it.
        data_sha256: a checkpoint must have been made on the same data.
        controller: of an adaptive lambda.
        plateau: of a learning rate that looks at the run.
    """

    def __init__(
        self,
        backbone: nn.Module,
        criterion: Criterion,
        optimizer: torch.optim.Optimizer,
        identity: dict[str, Any],
        data_sha256: str,
        controller: AdaptiveLambda | None = None,
        plateau: PlateauLR | None = None,
    ) -> None:
        self.backbone, self.criterion, self.optimizer = backbone, criterion, optimizer
        self.controllers: dict[str, AdaptiveLambda | PlateauLR] = {
            name: one for name, one in (("controller", controller), ("plateau", plateau)) if one is not None
        }
        self.identity, self.data_sha256 = identity, data_sha256
        self.progress = Progress()

    def save(self, path: Path, *, planned: bool) -> None:
        """planned: at a step of the plan, not where a signal or the clock asked for it."""
        state = {
            "backbone": self.backbone.state_dict(),
            "criterion": self.criterion.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "random": random_state(),
            "identity": self.identity,
            "data_sha256": self.data_sha256,
            "planned": planned,
        }
        state |= {name: controller.state_dict() for name, controller in self.controllers.items()}
        checkpoint.save(path, state)

    def load(self, path: Path) -> bool:
        """Whether it was a planned one. UserError if it is damaged or does not fit, OtherData for other data."""
        state = checkpoint.load(path)
        try:
            self._check_data(path, state["data_sha256"])
            self.backbone.load_state_dict(state["backbone"])
            self.criterion.load_state_dict(state["criterion"])
            load_optimizer(self.optimizer, state["optimizer"])
            for name, controller in self.controllers.items():
                controller.load_state_dict(state[name])
            self.progress = Progress(**state["progress"])
            restore_random_state(state["random"])
            return bool(state["planned"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            if is_memory_error(error):  # no fault of the checkpoint
                raise
            reason = one_line(error)[:200]
            raise UserError(
                f"the checkpoint {path} does not fit this run ({reason}); delete it to start anew"
            ) from error

    def _check_data(self, path: Path, there: str) -> None:
        if there != self.data_sha256:
            raise OtherData(
                f"the checkpoint {path} was made on other data (sha256 {there[:12]}, now {self.data_sha256[:12]}); "
                "choose another run_dir=, or trainer.overwrite=true to start anew"
            )

    @torch.no_grad()
    def is_finite(self) -> bool:
        """No weight and no running statistic is inf or nan. Synchronises."""
        modules = (self.backbone, self.criterion)
        tensors = [t for module in modules for t in module.state_dict().values() if t.is_floating_point()]
        return bool(torch.nn.utils.get_total_norm(tensors, math.inf).isfinite())  # few kernels for many tensors
