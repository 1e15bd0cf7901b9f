"""train.py with several runs in one command, and what a signal leaves of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from configs import ROOT

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
