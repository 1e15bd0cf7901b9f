"""What a run does at each step, and how it is run: plain values that the configuration fills."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lsoftmax.controllers import AdaptiveLambda


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything tuned together. Steps count from 0."""

    steps: int
    batch_size: int
    lr: Callable[[int], float]
    lam: Callable[[int], float] | AdaptiveLambda  # the second looks at the run
    momentum: float
    weight_decay: float
    classifier_lr_factor: float
    classifier_weight_decay: float | None  # None: as all weights


@dataclass(frozen=True, kw_only=True)
class TrainerOptions:
    """How a run is executed; none of this is meant to change what it learns."""

    log_every: int  # steps
    eval_every: int  # steps
    checkpoint_every: int  # steps
    checkpoint_minutes: float  # and at least this often
    eval_batch_size: int
    precision: Literal["fp32", "bf16"]
    channels_last: bool
    compile: bool
    cuda_graph: bool
    deterministic: bool
    on_divergence: Literal["stop", "raise_lambda"]
    max_restarts: int
    keep_checkpoint: bool
    overwrite: bool
