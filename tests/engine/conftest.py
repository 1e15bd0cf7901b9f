"""Runs that take milliseconds: few images, a network with BN, PReLU and dropout, so that random states matter."""

import dataclasses
import json
import math
import random
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lsoftmax import losses
from lsoftmax.engine.log import RunLog
from lsoftmax.engine.plan import Plan, TrainerOptions
from lsoftmax.engine.signals import Interrupted, StopRequest
from lsoftmax.engine.trainer import Trainer
from lsoftmax.losses.lsoftmax import LSoftmax

CLASSES = 3
TIME_FIELDS = ("seconds", "images_per_s")
PLAN = {
    "steps": 12,
    "batch_size": 8,
    "lr": lambda step: 0.05 if step < 8 else 0.005,
    "lam": lambda step: max(0.5, 10.0 - step),
    "momentum": 0.9,
    "weight_decay": 0.01,
    "classifier_lr_factor": 1.0,
    "classifier_weight_decay": None,
}
OPTIONS = {
    "log_every": 3,
    "eval_every": 4,
    "checkpoint_every": 5,
    "checkpoint_minutes": 1e9,
    "eval_batch_size": 10,
    "precision": "fp32",
    "channels_last": False,
    "compile": False,
    "cuda_graph": False,
    "deterministic": True,
    "on_divergence": "stop",
    "max_restarts": 3,
    "keep_checkpoint": False,
    "overwrite": False,
}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def determinism() -> Iterator[None]:
    """What a test (or a whole run) set, set back."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    fill = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.backends.cudnn.benchmark = before[1]
    torch.utils.deterministic.fill_uninitialized_memory = fill


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of flushes would take longer than the training."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


class Batches:
    """Training batches as a function of the step; `spoil` may change the images of a step."""

    def __init__(self, device: str = "cpu", spoil: Callable[[int, Tensor], Tensor] = lambda step, images: images):
        self.device, self.spoil = device, spoil

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        images, labels = make_images(8, seed=step)
        return self.spoil(step, images).to(self.device), labels.to(self.device)

    def epoch(self, step: int) -> float:
        return step / 5


class Fragile(LSoftmax):
    """Its loss is nan where lambda is below `limit`."""

    limit = 0.0

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        loss = super().forward(features, labels)
        return loss * math.nan if float(self.lam) < self.limit else loss


class StopAt(StopRequest):
    """Raises at the n-th question, counted from 0: between two steps or two batches of an evaluation."""

    def __init__(self, moment: float = math.inf, error: BaseException | None = None) -> None:
        super().__init__()
        self.moment, self.asked, self.error = moment, 0, error or Interrupted(15)

    def check(self) -> None:
        self.asked += 1
        if self.asked > self.moment:
            raise self.error


class Killed(BaseException):
    """Nothing is saved on the way out, as with SIGKILL."""


def make_images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    return torch.randn(count, 3, 6, 6, generator=generator) + labels[:, None, None, None], labels


def make_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(64, 5)
    )


def make_trainer(folder: Path, *, loss: Any = "lsoftmax", device: str = "cpu", **changes: Any) -> Trainer:
    """A trainer at step 0. changes: of the plan, of the options, or of the arguments of `Trainer`."""
    torch.manual_seed(0)
    backbone = changes.pop("backbone", None)
    backbone = make_network() if backbone is None else backbone
    criterion = losses.create(loss, 5, CLASSES) if isinstance(loss, str) else loss(5, CLASSES)
    count = OPTIONS["eval_batch_size"]

    def passes(size: int) -> Callable[[], Any]:
        batches = [tuple(t.to(device) for t in make_images(count, seed=1000 * size + n)) for n in range(size)]
        return lambda: iter(batches)

    names = {field.name for field in dataclasses.fields(Plan)}
    plan = PLAN | {key: value for key, value in changes.items() if key in names}
    options = OPTIONS | {key: value for key, value in changes.items() if key in OPTIONS}
    rest = {key: value for key, value in changes.items() if key not in plan and key not in OPTIONS}
    arguments = {
        "loader": Batches(device),
        "sets": {"train": passes(3), "test": passes(2)},
        "path": folder / "checkpoint.pt",
        "identity": {"loss": {"name": "tiny"}, "seed": 0},
        "data_sha256": "a" * 64,
    }
    folder.mkdir(parents=True, exist_ok=True)
    built = Trainer(
        backbone.to(device), criterion.to(device), plan=Plan(**plan), options=TrainerOptions(**options),
        **(arguments | rest),
    )  # fmt: skip
    return built


def go(trainer: Trainer, stop: StopRequest | None = None) -> Trainer:
    with RunLog(trainer.path.parent, trainer.progress.written, trainer.plan.steps, quiet=True) as log:
        trainer.run(log, stop or StopAt())
    return trainer


def go_on(folder: Path, **changes: Any) -> Trainer:
    """What the same command does in a new process: its random states are anything."""
    trainer = make_trainer(folder, **changes)
    torch.manual_seed(123), random.seed(123), np.random.seed(123)
    trainer.resume()
    return go(trainer)


def lines(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what the clock decides; NaN and Infinity are no JSON."""

    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is no JSON")

    text = (folder / "metrics.jsonl").read_text()
    records = [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
    return [{key: value for key, value in record.items() if key not in TIME_FIELDS} for record in records]


def outcome(trainer: Trainer) -> dict[str, Any]:
    """All that two runs of the same command must share, to the last bit."""
    progress = dataclasses.asdict(trainer.progress)
    del progress["seconds"], progress["restarts"]
    return {
        "backbone": trainer.backbone.state_dict(),
        "criterion": trainer.criterion.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "progress": progress,
        "lines": lines(trainer.path.parent),
    }


def difference(a: Any, b: Any, where: str = "") -> str | None:
    """The first place where two nested values differ; None if they are the same bits."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.nan_to_num(7), b.nan_to_num(7))
        return None if same else where
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return f"{where}: {sorted(map(str, a.keys() ^ b.keys()))}"
        return next((d for key in a if (d := difference(a[key], b[key], f"{where}.{key}"))), None)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        if len(a) != len(b):
            return f"{where}: {len(a)} and {len(b)}"
        pairs = enumerate(zip(a, b, strict=True))
        return next((d for n, (x, y) in pairs if (d := difference(x, y, f"{where}[{n}]"))), None)
    return None if a == b else f"{where}: {a!r} and {b!r}"


def check_same(a: Any, b: Any) -> None:
    if where := difference(a, b):
        pytest.fail(f"differs at {where}", pytrace=False)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: to a writer this is a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def record(step: int, **more: Any) -> dict[str, Any]:
    """A line of a log."""
    return {"step": step, "loss": 1.0 / step, "lam": 5.0, "lr": 0.1, **more}


def write(folder: Path, *records: dict[str, Any], start: int = 0, steps: int = 10, quiet: bool = True) -> None:
    with RunLog(folder, start, steps, quiet=quiet) as log:
        for item in records:
            log.write(item)


def steps_of(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


class Tools:
    """The helpers above, by one name."""

    Batches, Fragile, StopAt, Killed = Batches, Fragile, StopAt, Killed
    images, network, trainer = staticmethod(make_images), staticmethod(make_network), staticmethod(make_trainer)
    go, go_on, lines = staticmethod(go), staticmethod(go_on), staticmethod(lines)
    record, write, steps_of = staticmethod(record), staticmethod(write), staticmethod(steps_of)
    outcome, check_same = staticmethod(outcome), staticmethod(check_same)
    file_size_limit = staticmethod(file_size_limit)
    options, classes = OPTIONS, CLASSES

    @staticmethod
    def fragile(limit: float) -> Callable[[int, int], Fragile]:
        def make(features: int, classes: int) -> Fragile:
            criterion = Fragile(features, classes)
            criterion.limit = limit
            return criterion

        return make


@pytest.fixture(scope="session")
def tools() -> type[Tools]:
    return Tools


@pytest.fixture
def trained(tmp_path: Path) -> Trainer:
    """A run that went through."""
    return go(make_trainer(tmp_path / "trained"))
