"""train.py with several runs in one command, and what a signal leaves of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lsoftmax.engine.weights
from configs import ROOT
from lsoftmax.errors import UserError

Options = tuple[str, ...]
Command = Callable[..., Any]
Result = Callable[[Path], dict[str, Any]]


def test_a_sweep_of_two_runs_prints_their_errors(
    command: Command, tmp_path: Path, tiny: Options, result: Result
) -> None:
    both = f"run_dir={tmp_path / 'a'},{tmp_path / 'b'}"
    done = command("-m", *tiny, both)
    assert done.code == 0
    table = done.out[done.out.rindex("job ") :]
    for name in ("a", "b"):
        assert f"{result(tmp_path / name)['test_error']:.2f} %" in table and str(tmp_path / name) in table


def test_a_failed_run_of_a_sweep_leaves_the_others_alone(
    command: Command, tmp_path: Path, tiny: Options, result: Result
) -> None:
    done = command("-m", *tiny, "device=cuda:99,cpu", f"run_dir={tmp_path / 'run'}")
    assert done.code == 2
    assert "failed" in done.out and result(tmp_path / "run")["status"] == "finished"


def test_a_sweep_stopped_by_a_signal_saves_says_so_and_starts_nothing_more(
    command: Command, tmp_path: Path, tiny: Options
) -> None:
    path = tmp_path / "a"
    arguments = [*tiny, "schedule.steps=1000000", f"run_dir={path},{tmp_path / 'b'}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    sweep = ["trainer.log_every=10"]
    running = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "-m", *arguments, *sweep],
        env=environment,
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + 60
    while running.poll() is None and time.monotonic() < until:
        if (path / "metrics.jsonl").exists() and (path / "metrics.jsonl").read_text():
            break
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 143
    assert "stopped by SIGTERM" in err and err.count("\n") == 1
    assert "interrupted" in out and "not started" in out
    assert (path / "checkpoint.pt").exists() and not (tmp_path / "b").exists()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_too_late_for_a_run_stops_the_sweep_after_it(
    command: Command, tmp_path: Path, tiny: Options, result: Result, monkeypatch: pytest.MonkeyPatch, signum: int
) -> None:
    save = lsoftmax.engine.weights.save_weights

    def save_then_signal(*arguments: Any) -> None:
        save(*arguments)
        signal.raise_signal(signum)

    monkeypatch.setattr("lsoftmax.engine.weights.save_weights", save_then_signal)
    done = command("-m", *tiny, f"run_dir={tmp_path / 'a'},{tmp_path / 'b'}")
    assert done.code == 128 + signum
    assert result(tmp_path / "a")["status"] == "finished" and not (tmp_path / "b").exists()
    assert "test error" in done.out and "not started" in done.out
    assert done.err == f"stopped by {signal.Signals(signum).name}; this run had ended\n"


def test_jobs_of_a_sweep_may_not_share_a_folder(
    command: Command, tmp_path: Path, tiny: Options, result: Result
) -> None:
    done = command("-m", *tiny, "seed=0,1", f"run_dir={tmp_path / 'one'}", "trainer.overwrite=true")
    assert done.code == 2 and "is the folder of another job of the sweep too" in done.err
    assert result(tmp_path / "one")["seed"] == 0


def test_a_signal_counts_where_the_save_fails(
    command: Command, tmp_path: Path, tiny: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        raise UserError("cannot write")

    monkeypatch.setattr("lsoftmax.engine.trainer.Trainer._save", fail)
    done = command("-m", *tiny, f"run_dir={tmp_path / 'a'},{tmp_path / 'b'}")
    assert done.code == 143 and "not started" in done.out
