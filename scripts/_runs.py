"""Runs as processes of train.py: several at once, within a budget, each resumable."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.settings import ROOT

Command = tuple[list[str], Path]  # the options, and the run folder


@dataclass
class Budget:
    """Minutes from now, or as long as it takes."""

    minutes: float | None
    start: float = field(default_factory=time.monotonic)

    def is_spent(self) -> bool:
        return self.minutes is not None and time.monotonic() - self.start > 60 * self.minutes


def run_all(commands: list[Command], budget: Budget, parallel: int) -> Iterator[dict[str, Any]]:
    """The results, as the runs end. When the budget is spent or this process is told to stop, all runs save and stop;
    the same call goes on with them another time."""
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))  # through `finally`, as Ctrl-C goes
    waiting = list(commands)
    running: dict[subprocess.Popen[bytes], Path] = {}
    try:
        while (waiting or running) and not budget.is_spent():
            while waiting and len(running) < parallel:
                options, folder = waiting.pop(0)
                running[_start(options)] = folder
            for process in [process for process in running if process.poll() is not None]:
                folder = running.pop(process)
                if (folder / "result.json").exists():
                    yield json.loads((folder / "result.json").read_text())
            time.sleep(0.2)
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait()


def _start(options: list[str]) -> subprocess.Popen[bytes]:
    print(f"train.py {' '.join(options)}", flush=True)
    return subprocess.Popen([sys.executable, str(ROOT / "train.py"), *options])
