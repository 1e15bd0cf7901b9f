"""Runs as processes of train.py: several at once, within a budget, each resumable."""

import ctypes
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.settings import ROOT

Command = tuple[list[str], Path]  # the options, and the run folder
Result = dict[str, Any]  # of result.json
TOLD = {code for told in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM) for code in (-told, 128 + told)}
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: after fork() little is safe


@dataclass
class Budget:
    """Minutes from now, or as long as it takes."""

    minutes: float | None
    start: float = field(default_factory=time.monotonic)

    def is_spent(self) -> bool:
        return self.minutes is not None and time.monotonic() - self.start > 60 * self.minutes


def run_all(
    commands: list[Command], budget: Budget, parallel: int, failed: list[Path] | None = None
) -> Iterator[Result]:
    """The results, as the runs end; `failed` is filled with the folders of those that leave none.

    When the budget is spent or this process is told to stop, all runs save and stop; the same call goes on with them
    another time.
    """
    before = signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))  # through `finally`, as Ctrl-C
    waiting = list(commands)
    running: dict[subprocess.Popen[bytes], tuple[Path, bool]] = {}
    try:
        while (waiting or running) and not budget.is_spent():
            while waiting and len(running) < parallel:
                options, folder = waiting.pop(0)
                had_result = _result_path(folder).exists()
                running[_start(options)] = folder, had_result
            yield from _ended(running, failed)
            time.sleep(0.2)
        _stop(running)
        yield from _ended(running, failed)
    finally:
        _stop(running)
        signal.signal(signal.SIGTERM, before)


def _ended(running: dict[subprocess.Popen[bytes], tuple[Path, bool]], failed: list[Path] | None) -> Iterator[Result]:
    """Takes out those whose process is gone. One that was told to stop has not failed, and may just have ended; one
    that another signal killed (out of memory, a crash) has failed.
    """
    for process in [process for process in running if process.poll() is not None]:
        folder, had_result = running.pop(process)
        stopped = process.returncode in TOLD
        result = _result(folder) if process.returncode in (0, 3) or (stopped and not had_result) else None
        if result is not None:
            yield result
        elif _is_anothers(folder):
            print(f"another process is at {folder}: its result counts the next time")
        elif not stopped:
            if process.returncode < 0:
                print(f"{folder}: killed by {signal.Signals(-process.returncode).name}", flush=True)
            if failed is not None:
                failed.append(folder)


def _is_anothers(folder: Path) -> bool:
    """Whether another process holds the run; ours has ended."""
    from lsoftmax.files import lock

    try:
        with open(folder / ".lock") as file:
            return not lock(file, folder / ".lock")
    except OSError:
        return False


def _stop(running: Iterable[subprocess.Popen[bytes]]) -> None:
    for process in running:
        process.send_signal(signal.SIGTERM)
    for process in running:
        process.wait()


def _result(folder: Path) -> Result | None:
    try:
        return dict(json.loads(_result_path(folder).read_text()))
    except (OSError, ValueError):
        return None


def _result_path(folder: Path) -> Path:
    return folder / "result.json"


def _start(options: list[str]) -> subprocess.Popen[bytes]:
    print(f"train.py {' '.join(options)}", flush=True)
    # A session of its own: Ctrl-C reaches it through us alone, once.
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *options],
        start_new_session=True,
        preexec_fn=None if LIBC is None else _stop_with_us,
    )


def _stop_with_us() -> None:
    """In the child: when its parent is gone, whatever killed it, the kernel tells the run to save and stop. It would
    else hold its folder's lock, and the next call could not go on with it."""
    pr_set_pdeathsig = 1  # <sys/prctl.h>
    assert LIBC is not None
    LIBC.prctl(pr_set_pdeathsig, signal.SIGTERM)
