"""The command line under Python 3.14's argparse, which reads each help as it is added; older Pythons are made to."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hydra._internal.utils import get_args_parser

Command = Callable[..., Any]


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.version_info >= (3, 14):
        return
    container: Any = argparse._ActionsContainer
    add = container.add_argument

    def add_argument(self: Any, *names: Any, **options: Any) -> argparse.Action:
        action: argparse.Action = add(self, *names, **options)
        self._check_help(action)
        return action

    def check_help(self: Any, action: argparse.Action) -> None:
        try:
            "%" in (action.help or "")  # noqa: B015 - what _expand_help asks first
        except TypeError as error:
            raise ValueError("badly formed help string") from error

    monkeypatch.setattr(container, "add_argument", add_argument)
    monkeypatch.setattr(container, "_check_help", check_help, raising=False)


@pytest.mark.usefixtures("strict")
def test_hydras_own_parser_would_fail() -> None:
    """When this test fails, Hydra has mended it, and configs/command.py need not look away any more."""
    with pytest.raises(ValueError, match="badly formed help string"):
        get_args_parser()


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("arguments", [["seed=1"], ["-m", "seed=1,2"]])
def test_runs_and_sweeps(command: Command, arguments: list[str]) -> None:
    said = command(*arguments)
    assert (said.code, said.err) == (0, "")
    assert [settings.seed for settings, _ in said.jobs] == [1, 2][: len(said.jobs)]


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("option", ["--help", "--hydra-help"])
def test_what_hydra_shows(command: Command, option: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:  # Hydra ends the program by itself
        command(option)
    said = capfd.readouterr()
    assert (end.value.code, said.err) == (0, "")
    assert len(said.out.splitlines()) > 20


@pytest.mark.usefixtures("strict")
def test_helps_are_read_again_afterwards(command: Command) -> None:
    command("seed=1")
    parser = argparse.ArgumentParser()
    with pytest.raises(ValueError, match="badly formed help string"):
        parser.add_argument("--option", help=object())  # type: ignore[arg-type]
