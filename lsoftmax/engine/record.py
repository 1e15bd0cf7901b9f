"""result.json: the record of a run that has ended, complete enough to make tables from."""

import platform
import subprocess
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any

import torch

import lsoftmax
from lsoftmax.engine.collapse import has_collapsed
from lsoftmax.engine.device import describe
from lsoftmax.engine.evaluation import Evaluation
from lsoftmax.engine.folder import identity_sha256
from lsoftmax.engine.signals import StopRequest
from lsoftmax.engine.trainer import Trainer


def final_record(
    trainer: Trainer, stop: StopRequest, identity: dict[str, Any], facts: dict[str, Any]
) -> dict[str, Any]:
    """The record of a finished run: full passes over every set, in float32, with the last step's weights.

    Args:
        identity: what was asked (dataset, model, loss, schedule, seed, ...); part of the record.
        facts: what else the caller knows (num_classes, test_images, parameters, multiply_adds, dataset_sha256).
    """
    evaluations = {name: trainer.latest.get(name) or trainer.evaluate(name, stop) for name in trainer.sets}
    record = _record("finished", trainer, evaluations, identity, facts)
    return {**record, "collapsed": has_collapsed(record)}


def diverged_record(trainer: Trainer, identity: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """The record of a run that ended without a usable network: no errors, but all that is known."""
    return _record("diverged", trainer, {}, identity, facts)


def _record(
    status: str,
    trainer: Trainer,
    evaluations: dict[str, Evaluation],
    identity: dict[str, Any],
    facts: dict[str, Any],
) -> dict[str, Any]:
    test, train, val = (evaluations.get(name) for name in ("test", "train", "val"))
    progress, options = trainer.progress, trainer.options
    seconds = trainer.elapsed()
    return {
        "status": status,
        **identity,
        "steps": progress.step,
        "test_error": test.error if test else None,
        "train_error": train.error if train else None,
        "val_error": val.error if val else None,
        "wrong": (test.predictions != test.labels).nonzero().flatten().tolist() if test else None,
        "predicted_classes": len(torch.unique(test.predictions)) if test else None,
        "cosines": {name: _cosines(evaluation) for name, evaluation in evaluations.items()},
        "verification": None,
        **facts,
        "curve": progress.curve,
        "trace": [{key: _short(value) for key, value in line.items()} for line in progress.trace],
        "restarts": progress.restarts,
        "divergences": progress.divergences,
        "seconds": round(seconds, 3),
        "images_per_s": round(progress.step * trainer.plan.batch_size / seconds, 1),
        "precision": "+".join(progress.precisions),
        "compile": options.compile,
        "cuda_graph": trainer.graph is not None,
        "channels_last": options.channels_last,
        "deterministic": options.deterministic,
        "threads": torch.get_num_threads(),
        "device": describe(trainer.device),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lsoftmax": lsoftmax.__version__,
            "git": git_commit(),
        },
        "config_sha256": identity_sha256(identity),
    }


def _cosines(evaluation: Evaluation) -> dict[str, float | None]:
    """null where a set has no two images of a class."""
    return {name: None if isnan(value) else _short(value) for name, value in evaluation.cosines._asdict().items()}


def _short(value: Any) -> Any:
    """Six digits of a float: records are committed by the hundred."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def git_commit() -> str | None:
    """The commit this code stands at, marked where files were changed, outputs apart; None outside a checkout."""
    here = Path(__file__).parent
    try:
        ask = partial(subprocess.run, cwd=here, capture_output=True, text=True)
        commit = ask(["git", "rev-parse", "--short=12", "HEAD"], check=True).stdout.strip()
        changed = ask(["git", "diff", "--quiet", "HEAD", "--", ":(top)", ":(top,exclude)outputs"]).returncode != 0
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changed else commit
