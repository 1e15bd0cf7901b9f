"""What the tests of train.py share: a tiny run, and train.py's own job in this process."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import train
from configs import compose
from configs.command import run_command


@dataclass
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str

    def is_users_mistake(self) -> bool:
        return self.code == 2 and self.err.startswith("error: ") and self.err.count("\n") == 1


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A run sets torch's global switches; the next test finds them as they were."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """Options of a run of a tenth of a second. cifar images, as nothing else here has colours."""
    options = ("dataset=synthetic", "dataset.train_images=20", "dataset.test_images=10", "dataset.classes=2")
    options += ("model.width=0.03", "schedule.steps=3", "schedule.batch_size=4", "trainer.log_every=1")
    return (*options, "device=cpu", "loss.m=2")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """command(*overrides): train.py's own job in this process."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        capfd.readouterr()
        code = run_command(train.run)
        captured = capfd.readouterr()
        return Done(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def result() -> Callable[[Path], dict[str, Any]]:
    """result(run): its result.json."""
    return lambda path: json.loads((path / "result.json").read_text())


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, tiny: tuple[str, ...]) -> Path:
    path = tmp_path_factory.mktemp("first") / "run"
    assert train.run(compose(tiny), path).code == 0
    return path


@pytest.fixture
def ended(first: Path, tmp_path: Path) -> Path:
    """A finished tiny run, a copy of its own for each test."""
    return Path(shutil.copytree(first, tmp_path / "ended"))
