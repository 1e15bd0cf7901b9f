"""What a run says: metrics.jsonl, TensorBoard, and the terminal. It only writes what it is given."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Self, TextIO

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from lsoftmax.errors import UserError
from lsoftmax.files import cannot_write, plain, write_text

# The curves of one theme stand together in TensorBoard.
THEMES = {
    "loss": "loss",
    "train_error": "error",
    "test_error": "error",
    "val_error": "error",
    "lam": "schedule",
    "lr": "schedule",
    "epoch": "schedule",
    "images_per_s": "speed",
    "seconds": "speed",
}


class RunLog:
    """Context manager over the three; opening it drops the lines of steps that a killed run had not saved.

    Args:
        folder: the run folder.
        start: up to which step the log is complete.
        steps: steps in all.
        quiet: nothing on the terminal.
    """

    def __init__(self, folder: Path, start: int, steps: int, *, quiet: bool = False) -> None:
        self._folder = folder
        self._open_files(start)
        self._stream: TextIO = sys.stdout
        self._quiet = quiet
        self._start, self._steps = start, steps
        self._since = time.monotonic()
        self._bar: tqdm[Any] | None = None
        if not quiet and self._stream.isatty():
            self._bar = tqdm(total=steps, initial=start, file=self._stream, unit="step", dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if self._bar is not None:
            with self._terminal_errors():
                self._bar.close()
        # What has gone wrong already matters more than what closing says of it.
        with suppress(UserError) if kind is not None else nullcontext():
            self._close_files()

    def rewind(self, step: int) -> None:
        """Forget what was logged after `step`."""
        self._close_files()
        self._open_files(step)
        self._start, self._since = step, time.monotonic()

    def tick(self, step: int) -> None:
        """The bar moves with every step, from the loop's own count."""
        if self._bar is not None:
            with self._terminal_errors():
                self._bar.update(step - self._bar.n)

    def say(self, text: str) -> None:
        """A line on the terminal, above the progress bar."""
        if self._quiet:
            return
        with self._terminal_errors():
            if self._bar is not None:
                self._bar.write(text, file=self._stream)
            else:
                print(text, file=self._stream, flush=True)

    def write(self, record: dict[str, Any]) -> None:
        """One logged step, to all three places."""
        with self._disk_errors():
            print(json.dumps(plain(record), allow_nan=False), file=self._lines, flush=True)
            for key, value in record.items():
                if key != "step" and value is not None:
                    self._board.add_scalar(f"{THEMES.get(key, 'instruments')}/{key}", value, record["step"])
        if self._bar is not None:
            with self._terminal_errors():
                self._bar.set_postfix_str(_brief(record, ("loss", "test_error", "lam")))
        if self._bar is None or "test_error" in record:
            self.say(f"step {record['step']:>6}/{self._steps}  {_brief(record)}{self._eta(record['step'])}")

    def _open_files(self, step: int) -> None:
        metrics = self._folder / "metrics.jsonl"
        with self._disk_errors():
            _keep_until(metrics, step)
            self._lines = open(metrics, "a")  # noqa: SIM115 (closed in _close_files)
            self._board = SummaryWriter(str(self._folder), purge_step=step + 1)
        self._hook, threading.excepthook = threading.excepthook, self._told_elsewhere

    def _told_elsewhere(self, error: threading.ExceptHookArgs) -> None:
        """What TensorBoard's thread cannot write is raised again by its next call, and said there in one line."""
        if not isinstance(error.exc_value, OSError) or type(error.thread).__name__ != "_AsyncWriterThread":
            self._hook(error)

    def _close_files(self) -> None:
        with self._disk_errors():
            try:
                self._lines.close()
            finally:
                try:
                    self._board.close()
                finally:
                    threading.excepthook = self._hook

    @contextmanager
    def _terminal_errors(self) -> Iterator[None]:
        """The reader has gone (| head), or takes no more (a full disk): the run goes on, silently."""
        try:
            yield
        except OSError:
            if self._bar is not None:
                self._bar.disable = True  # else it tries again when it is closed
            self._quiet, self._bar = True, None
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise cannot_write(self._folder, error) from error

    def _eta(self, step: int) -> str:
        done, left = step - self._start, self._steps - step
        if done <= 0 or left <= 0:
            return ""
        return f"  eta {duration((time.monotonic() - self._since) / done * left)}"


def duration(seconds: float) -> str:
    """90 -> 1m30s."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


SHOWN = {
    "loss": "loss {:.4f}",
    "train_error": "train {:.1f} %",
    "val_error": "val error {:.2f} %",
    "test_error": "test error {:.2f} %",
    "lam": "lambda {:.3g}",
    "lr": "lr {:g}",
    "target_angle": "angle {:.0f}",
    "images_per_s": "{:.0f} images/s",
}


def _brief(record: dict[str, Any], keys: Iterable[str] = SHOWN) -> str:
    """The few numbers that a person follows."""
    return "  ".join(SHOWN[key].format(record[key]) for key in keys if record.get(key) is not None)


def _keep_until(path: Path, step: int) -> None:
    """Drop what a killed run had logged beyond its checkpoint, and a last line that was torn."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    write_text(path, "".join(kept))
