"""A run of a few steps, and the scripts called as from the command line."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import train
from configs.settings import compose


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished smoke run on the embedded digits, with a validation split."""
    folder = tmp_path_factory.mktemp("run")
    settings = compose(["debug=smoke", "dataset.validation=100", "device=cpu", f"run_dir={folder}"])
    assert train.run(settings, folder).code == 0
    return folder


@pytest.fixture(scope="session")
def result(finished: Path) -> dict:
    return json.loads((finished / "result.json").read_text())


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """script("evaluate", "run=...") -> what it said."""
    from scripts import _cli

    def call(name: str, *options: str) -> Said:
        module = importlib.import_module(name)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *options])
        code = _cli.main(getattr(module, name), module.__doc__)
        return Said(code, *capsys.readouterr())

    return call
