"""SIGINT, SIGTERM and SIGHUP as a request: the run saves first, then leaves with 128 + the signal's number."""

import signal
import time
from types import FrameType
from typing import Self


def asking() -> list[signal.Signals]:
    """The signals that ask a process to stop: Ctrl-C, kill, and, but under nohup, a terminal that is closed."""
    hangup = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGINT, signal.SIGTERM, *hangup]


TOGETHER = 1.0  # seconds: a scheduler tells all processes of a job, and those tell their children once more


class Interrupted(Exception):
    """A signal asked the run to stop."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class StopRequest:
    """Context manager that catches `asking()`. A second one, unless it comes with the first, acts as without us."""

    def __init__(self) -> None:
        self.signum: int | None = None  # of the signal that has come
        self._came = 0.0
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        for signum in asking():
            self._before[signum] = signal.signal(signum, self._remember)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def check(self) -> None:
        """Raise Interrupted if a signal has come; called between steps and between evaluation batches."""
        if self.signum is not None:
            raise Interrupted(self.signum)

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is None:
            self.signum, self._came = signum, time.monotonic()
        elif time.monotonic() - self._came > TOGETHER:
            self._restore()
            signal.raise_signal(signum)

    def _restore(self) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before = {}
