"""What the terminal shows of a run, and what happens when it cannot be written to."""

import errno
import io
import math
import sys
from types import SimpleNamespace

import pytest

from lsoftmax.engine import log as log_module
from lsoftmax.engine.log import RunLog, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_lines_with_an_eta(tools, tmp_path, capsys):
    tools.write(tmp_path, tools.record(1), tools.record(2), quiet=False)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 2 and "\r" not in printed and printed.count("eta") == 2


def test_the_eta_is_reckoned_from_the_steps_of_this_process(tools, tmp_path, capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(log_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with RunLog(tmp_path, 4, 10, quiet=False) as log:
        now[0] += 20
        log.write(tools.record(6))
    assert "eta 40s" in capsys.readouterr().out


def test_a_line_names_the_numbers_that_a_person_follows(tools, tmp_path, capsys):
    tools.write(tmp_path, tools.record(1, val_error=13.5, test_error=12.345, target_angle=70.2), quiet=False)
    printed = capsys.readouterr().out
    words = ("1/10", "loss 1.0000", "lambda 5", "lr 0.1", "val error 13.50 %  test error 12.35 %", "angle 70")
    assert all(part in printed for part in words)


def test_the_errors_of_a_line_are_told_apart(tools, tmp_path, capsys):
    tools.write(tmp_path, tools.record(1, train_error=3.25, val_error=13.5, test_error=12.345), quiet=False)
    assert "  train 3.2 %  val error 13.50 %  test error 12.35 %  " in capsys.readouterr().out


def test_the_last_line_has_no_eta(tools, tmp_path, capsys):
    tools.write(tmp_path, tools.record(10), quiet=False)
    assert "eta" not in capsys.readouterr().out


def test_quiet_says_nothing(tools, tmp_path, capsys):
    with RunLog(tmp_path, 0, 10, quiet=True) as log:
        log.write(tools.record(1))
        log.say("hello")
    assert capsys.readouterr() == ("", "")


def test_after_a_return_the_eta_is_reckoned_from_where_it_went_back_to(tools, tmp_path, capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(log_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with RunLog(tmp_path, 0, 10, quiet=False) as log:
        now[0] += 1000
        log.rewind(4)
        now[0] += 20
        log.write(tools.record(6))
    assert "eta 40s" in capsys.readouterr().out


def shown(tools, monkeypatch, *arguments, **options):
    """What `write` shows on a terminal. Set here: pytest replaces stdout between fixtures and test."""
    stream = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        tools.write(*arguments, **options, quiet=False)
    return stream.getvalue()


def test_a_terminal_gets_a_bar(tools, tmp_path, monkeypatch):
    text = shown(tools, monkeypatch, tmp_path, tools.record(5))
    assert "0/10" in text and "loss 0.2000" in text and "\r" in text


def test_the_bar_moves_with_every_step(tmp_path, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", terminal)
    with RunLog(tmp_path, 0, 10) as log:
        for step in range(1, 8):
            log.tick(step)
    assert "7/10" in terminal.getvalue()


def test_above_the_bar_evaluations_alone_get_a_line(tools, tmp_path, monkeypatch):
    text = shown(tools, monkeypatch, tmp_path, tools.record(5), tools.record(6, test_error=3.0))
    assert [line for line in text.replace("\r", "\n").splitlines() if line.startswith("step ")][0].startswith(
        "step      6/10"
    )


def test_the_bar_of_a_resumed_run_starts_where_it_stood(tools, tmp_path, monkeypatch):
    assert "7/10" in shown(tools, monkeypatch, tmp_path, start=7)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_can_be_said(tools, tmp_path, capsys, value):
    tools.write(tmp_path, tools.record(1) | {"lam": value, "loss": value}, quiet=False)
    assert str(value) in capsys.readouterr().out


class Refusing(io.StringIO):
    """A disk that is full, or a terminal that has gone."""

    def __init__(self, error, terminal):
        super().__init__()
        self.error, self.isatty = error, lambda: terminal

    def write(self, text):
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(errno.ENOSPC, "No space left"), OSError(errno.EIO, "")])
@pytest.mark.parametrize("say_first", [True, False])
def test_an_output_that_cannot_be_written_does_not_stop_the_run(tools, tmp_path, monkeypatch, error, say_first):
    monkeypatch.setattr(sys, "stdout", Refusing(error, terminal=False))
    with RunLog(tmp_path, 0, 10) as log:
        if say_first:
            log.say("hello")
        log.write(tools.record(1))
        log.write(tools.record(2))
        print("and nobody else fails")
    sys.stdout.close()
    assert tools.steps_of(tmp_path) == [1, 2]


@pytest.mark.parametrize("first", ["tick", "say", "write", "nothing"])
def test_a_terminal_that_goes_away_does_not_stop_the_run(tools, tmp_path, monkeypatch, first):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    with RunLog(tmp_path, 0, 10) as log:
        terminal.write = Refusing(OSError(errno.EIO, ""), terminal=True).write
        if first == "tick":
            log.tick(5)
        if first == "say":
            log.say("hello")
        if first != "nothing":
            log.write(tools.record(5, test_error=3.0))
            log.tick(6)
    sys.stdout.close()
    assert tools.steps_of(tmp_path) == [5] * (first != "nothing")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.4, "59s"), (59.6, "1m00s"), (90, "1m30s"), (3599.6, "1h00m"), (3660, "1h01m"), (90000, "25h00m")],
)
def test_a_duration_is_short(seconds, text):
    assert duration(seconds) == text
