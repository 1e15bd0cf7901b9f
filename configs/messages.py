"""What a run says at its beginning and its end."""

import shlex
import sys
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from configs.schema import Settings
from configs.settings import ROOT, compose


def headline(settings: Settings, known: dict[str, Any], device: Any) -> str:
    """What is about to run, in a line."""
    loss = settings.loss.name + (f" m={settings.loss.m}" if hasattr(settings.loss, "m") else "")
    width = "" if settings.model.width == 1 else f" x {settings.model.width:g}"
    network = f"{settings.model.name} network{width}, {known['parameters']:,} parameters"
    steps = f"{settings.schedule.steps:,} steps of {settings.schedule.batch_size}"
    return f"{settings.dataset.name} | {network} | {loss} | {steps} | {device}, {settings.trainer.precision}"


def summary(settings: Settings, result: dict[str, Any], path: Path) -> str:
    """What a newcomer wants to know at the end."""
    shown = _from_here(path)
    if result["status"] != "finished":
        step = result["divergences"][-1]["step"]
        return f"\nThis run diverged at step {step} and has no test error; its curves are in {shown}"
    python, train_py = _program("python"), _typed(ROOT / "train.py")
    typed = _typed(path)
    validation = result.get("val_error")
    by = [] if validation is None else [f"val error    {validation:.2f} %   (of images set apart: choose by this one)"]
    lines = [
        *by,
        f"test error   {result['test_error']:.2f} %   (train {result['train_error']:.2f} %, {result['seconds']:.0f} s)",
        *(["collapsed    it gave up a class, or did not learn its training set"] if result.get("collapsed") else []),
        *(f"{name:<12} {_verified(numbers)}" for name, numbers in (result.get("verification") or {}).items()),
        f"run folder   {shown}",
        f"curves       {_program('tensorboard')} --logdir {typed}",
        f"by class     {python} {_typed(ROOT / 'scripts' / 'evaluate.py')} run={typed}",
    ]
    if _is_plain(settings):
        other = "lsoftmax" if settings.loss.name == "softmax" else "softmax"
        command = f"{python} {train_py}"
        lines += [
            f"compare      {command} dataset={settings.dataset.name} loss={other}",
            f"sweep        {command} -m dataset={settings.dataset.name} loss.m=1,2,3,4 seed=0,1,2",
        ]
    return "\n" + "\n".join(lines)


def _is_plain(settings: Settings) -> bool:
    """Whether its data set, network and schedule are what the data set's name alone stands for."""
    try:
        plain = compose([f"dataset={settings.dataset.name}"])
    except ConfigError:  # of what the environment says, which the run's own options may have mended
        return False
    return (plain.dataset, plain.model, plain.schedule) == (settings.dataset, settings.model, settings.schedule)


def summary_of_ended(settings: Settings, result: dict[str, Any], path: Path) -> str:
    """The same of a run that had ended before. UserError if its record lacks any of it."""
    from lsoftmax.errors import UserError

    try:
        result["test_error"], float(result["seconds"])  # shown of a sweep
        how = f"{result['precision']} on {result['device']}, data {result['dataset_sha256'][:12]}"
        words = summary(settings, result, path)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise UserError(f"{path / 'result.json'} is damaged; trainer.overwrite=true starts this run anew") from error
    return f"this run has ended already ({how}); trainer.overwrite=true does it again\n{words}"


def _verified(numbers: dict[str, Any]) -> str:
    accuracy, error = 100 * numbers["accuracy"], 100 * numbers["standard_error"]
    return f"{accuracy:.2f} % +- {error:.2f} % (standard error) of {numbers['pairs']:,} pairs are judged rightly"


def _from_here(path: Path) -> Path:
    """As one would type it from the working folder, if that is still there."""
    try:
        return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    except FileNotFoundError:
        return path


def _typed(path: Path) -> str:
    """The same within a command."""
    return shlex.quote(str(_from_here(path)))


def _program(name: str) -> str:
    """The program of the environment that runs this."""
    path = Path(sys.prefix) / "bin" / name
    return _typed(path) if path.exists() else name
