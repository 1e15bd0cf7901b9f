"""The command line of train.py: Hydra's, with errors in one line, exit codes that mean something, patient sweeps."""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from configs import arguments
from configs.errors import ConfigError, translate
from configs.run_directory import run_directory
from configs.schema import Settings
from configs.settings import ROOT, compose, register
from configs.streams import open_streams, refused, silence


@dataclass(frozen=True)
class Outcome:
    """What one run came to. code: 0 finished, 2 the user can mend it, 3 diverged, 128 + n after signal n."""

    code: int
    status: str
    test_error: float | None = None  # percent
    seconds: float | None = None
    folder: Path | None = None
    val_error: float | None = None  # percent, where images were set apart


Job = Callable[[Settings, Path], Outcome]


def run_command(job: Job) -> int:
    """Do what sys.argv asks for: one run, every job of a sweep (-m), or only show something. The highest exit code."""
    open_streams()
    try:
        Path.cwd()
    except FileNotFoundError:
        return _fail(ConfigError("the working folder is gone; change to one that exists")).code
    try:
        asked = _read_flags()
    except ConfigError as error:
        return _fail(error).code
    if asked.help or asked.hydra_help or asked.cfg or asked.info or asked.shell_completion:
        return _show()
    if asked.config_name or asked.config_path or asked.config_dir or asked.experimental_rerun:
        without = "--config-name, --config-path, --config-dir and --experimental-rerun"
        return _fail(ConfigError(f"{without} have no effect here")).code
    try:
        jobs = arguments.jobs(asked.overrides, sweep=asked.multirun)
    except ConfigError as error:
        return _fail(error).code
    outcomes: list[Outcome] = []
    with _early_signals(lambda: _table(jobs[: len(outcomes)], outcomes) if asked.multirun else ""):
        return _sweep(job, jobs, outcomes) if asked.multirun else _run(job, jobs[0]).code


def say(text: str, stream: str = "stdout") -> None:
    """A line on the standard output or error. One that cannot be written (| head, a full disk, a closed terminal) is no
    reason to fail.
    """
    try:
        print(text, file=getattr(sys, stream), flush=True)
    except OSError:
        silence(stream)


def _read_flags() -> argparse.Namespace:
    """Hydra's flags wherever they stand, and the overrides. ConfigError for one that there is not."""

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message}; options are KEY=VALUE, and --help lists them")

    with _unread_helps():
        parser = get_args_parser()
        parser.error = refuse  # type: ignore[method-assign]
        return parser.parse_intermixed_args()


@contextmanager
def _unread_helps() -> Iterator[None]:
    """Around Hydra's parser: Python 3.14's argparse reads each help as it is added, and one of Hydra's is no text."""
    argparse.ArgumentParser._check_help = lambda self, action: None  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del argparse.ArgumentParser._check_help  # type: ignore[attr-defined]  # the base class's is there again


@contextmanager
def _early_signals(last_words: Callable[[], str]) -> Iterator[None]:
    """Signals that ask to stop while nothing is being trained; the trainer has its own way, which saves first.

    They leave at once: an exception would be raised inside whatever import is under way, and swallowed there.
    """

    def leave(signum: int, frame: FrameType | None) -> None:
        say(f"stopped by {signal.Signals(signum).name}", "stderr")
        if words := last_words():
            say(words)
        os._exit(128 + signum)

    hangup = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]  # nohup ignores it
    before = {signum: signal.signal(signum, leave) for signum in (signal.SIGINT, signal.SIGTERM, *hangup)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _show() -> int:
    """--help, --cfg job and the like are Hydra's."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # it raises to us instead of printing
    register()
    sys.argv[1:] = map(arguments.quoted, arguments.without_null(sys.argv[1:]))
    try:
        with _unread_helps():
            hydra.main(config_path=str(ROOT / "configs"), config_name="config", version_base="1.3")(
                lambda config: None
            )()
        sys.stdout.flush()  # here, not when Python ends: then nobody could answer for what cannot be written
    except (HydraException, OmegaConfBaseException) as error:  # one of Hydra's is an OSError too
        return _fail(translate(error)).code
    except OSError as error:
        said = refused(error)
        return _fail(ConfigError(said)).code if said else 0
    except ValueError as error:
        return _fail(ConfigError(str(error).split("\n")[0])).code
    return 0


def _run(job: Job, overrides: list[str], others: Collection[Path | None] = ()) -> Outcome:
    """others: the folders of the jobs before it in a sweep."""
    try:
        settings = compose(overrides)
        path = run_directory(settings, overrides)
        if path in others:
            raise ConfigError(
                f"{path} is the folder of another job of the sweep too: leave run_dir= out; jobs that differ in "
                "data_root, device or trainer.* alone are one run"
            )
        return job(settings, path)
    except ConfigError as error:
        return _fail(error)


def _sweep(job: Job, jobs: list[list[str]], outcomes: list[Outcome]) -> int:
    """One job after another; none leaves the process or keeps the next from running. Fills `outcomes`."""
    for overrides in jobs:
        others = {outcome.folder for outcome in outcomes if outcome.code in (0, 3)}
        if any(outcome.code > 128 for outcome in outcomes):
            outcomes.append(Outcome(code=0, status="not started"))  # the signal was meant for the whole sweep
            continue
        try:
            outcomes.append(_run(job, overrides, others))
        except Exception:  # a bug of ours: shown whole, and counted
            traceback.print_exc()
            outcomes.append(Outcome(code=1, status="crashed"))
    say(_table(jobs, outcomes))
    return max(outcome.code for outcome in outcomes)


def _fail(error: ConfigError) -> Outcome:
    say(f"error: {error}", "stderr")
    return Outcome(code=2, status="wrong configuration")


def _table(jobs: list[list[str]], outcomes: list[Outcome]) -> str:
    """The summary of a sweep."""
    validated = any(outcome.val_error is not None for outcome in outcomes)
    rows = [["job", "status", *(["val error"] if validated else []), "test error", "seconds", "run folder"]]
    for overrides, outcome in zip(jobs, outcomes, strict=True):
        errors = [*([outcome.val_error] if validated else []), outcome.test_error]
        shown = ["" if error is None else f"{error:.2f} %" for error in errors]
        seconds = "" if outcome.seconds is None else f"{outcome.seconds:.0f}"
        label = " ".join(overrides) or "(defaults)"
        rows.append([label, outcome.status, *shown, seconds, str(outcome.folder or "")])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(["", *lines])
