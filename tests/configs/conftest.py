"""The command line in this process: a fake job instead of a training run, nothing written outside tmp_path."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from configs import compose
from configs.command import Job, Outcome, run_command
from configs.schema import Settings


@dataclass
class Said:
    """What a command came to."""

    code: int
    out: str
    err: str
    jobs: list[tuple[Settings, Path]] = field(default_factory=list)

    @property
    def table(self) -> list[list[str]]:
        """The rows of the sweep's summary, two blanks between cells."""
        lines = self.out.splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("job ")]
        return [[cell.strip() for cell in line.split("  ") if cell] for line in lines[starts[-1] + 1 :]]


def finish(settings: Settings, path: Path) -> Outcome:
    return Outcome(0, "finished", 1.25, 2.0, path)


def ends_with(code: int, status: str = "ended") -> Job:
    return lambda settings, path: Outcome(code, status, folder=path)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """command(*overrides, job=...): what train.py would do with them, the job left to the test."""

    def say(*arguments: str, job: Job = finish) -> Said:
        jobs: list[tuple[Settings, Path]] = []

        def recorded(settings: Settings, path: Path) -> Outcome:
            jobs.append((settings, path))
            return job(settings, path)

        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # run_command sets it; the test's end restores it
        capfd.readouterr()
        code = run_command(recorded)
        captured = capfd.readouterr()
        return Said(code, captured.out, captured.err, jobs)

    return say


@pytest.fixture(scope="session")
def values() -> Callable[..., dict[str, Any]]:
    """values(*overrides): a composed configuration as plain containers, a fresh copy at each call."""
    import copy
    from dataclasses import asdict

    known: dict[tuple[str, ...], dict[str, Any]] = {}

    def get(*overrides: str) -> dict[str, Any]:
        if overrides not in known:
            known[overrides] = asdict(compose(overrides))
        return copy.deepcopy(known[overrides])

    return get


SMALL = ["dataset=synthetic", "dataset.train_images=40", "dataset.test_images=10", "model.width=0.05", "loss.m=2"]


SMALL += ["schedule.batch_size=8", "dataset.like=mnist", "model=mnist", "dataset.classes=4", "schedule=cifar10_paper"]


@pytest.fixture(scope="module")
def default() -> Settings:
    return compose()


@pytest.fixture(scope="module")
def small() -> Settings:
    return compose(SMALL)


def changed(*overrides: str) -> Settings:
    return compose([*SMALL, *overrides])
