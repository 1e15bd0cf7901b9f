"""The command line of train.py: Hydra, with errors in one line, exit codes that mean something, patient sweeps."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from configs.errors import ConfigError, translate
from configs.launcher import PatientLauncher, Unusable
from configs.run_directory import run_directory
from configs.schema import Settings
from configs.settings import ROOT, register, to_settings


@dataclass(frozen=True)
class Outcome:
    """What one run came to. code: 0 finished, 2 the user can mend it, 3 diverged, 128 + n after signal n."""

    code: int
    status: str
    test_error: float | None = None  # percent
    seconds: float | None = None
    folder: Path | None = None


Job = Callable[[Settings, Path], Outcome]


def run_command(job: Job) -> int:
    """Compose what sys.argv asks for, run it (each job of it under -m), return the highest exit code."""
    outcomes: list[tuple[str, Outcome]] = []
    sweeps = False

    def task(config: Any) -> int:
        nonlocal sweeps
        overrides = config.overrides if isinstance(config, Unusable) else list(HydraConfig.get().overrides.task)
        sweeps = isinstance(config, Unusable) or HydraConfig.get().mode == RunMode.MULTIRUN
        if any(outcome.code > 128 for _, outcome in outcomes):
            outcome = Outcome(code=0, status="not started")  # the signal was meant for the whole sweep
        else:
            outcome = _run(job, config, overrides)
        outcomes.append((" ".join(overrides), outcome))
        return outcome.code

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises to us instead of printing
    register()
    Plugins.instance().register(PatientLauncher)
    try:
        hydra.main(config_path=str(ROOT / "configs"), config_name="config", version_base="1.3")(task)()
    except (HydraException, OmegaConfBaseException) as error:
        return _fail(translate(error)).code
    if sweeps:
        print(_table(outcomes))
    return max((outcome.code for _, outcome in outcomes), default=0)


def _run(job: Job, config: Any, overrides: list[str]) -> Outcome:
    """One job; it never leaves the process."""
    if isinstance(config, Unusable):
        return _fail(config.error)
    try:
        settings = to_settings(config)
    except ConfigError as error:
        return _fail(error)
    return job(settings, run_directory(settings, overrides))


def _fail(error: ConfigError) -> Outcome:
    print(f"error: {error}", file=sys.stderr)
    return Outcome(code=2, status="wrong configuration")


def _table(outcomes: list[tuple[str, Outcome]]) -> str:
    """The summary of a sweep."""
    rows = [("job", "status", "test error", "seconds", "run folder")]
    for label, outcome in outcomes:
        error = "" if outcome.test_error is None else f"{outcome.test_error:.2f} %"
        seconds = "" if outcome.seconds is None else f"{outcome.seconds:.0f}"
        rows.append((label or "(defaults)", outcome.status, error, seconds, str(outcome.folder or "")))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(["", *lines])
