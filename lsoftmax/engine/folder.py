"""The run folder: one run, found again by the same command, held by one process at a time."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from lsoftmax.engine import checkpoint
from lsoftmax.errors import UserError
from lsoftmax.files import cannot_write, lock, plain, write_json


def identity_sha256(identity: dict[str, Any]) -> str:
    """Hash of what was asked: independent of the order of keys."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


class RunFolder:
    """Paths and rules of one run's folder.

    Args:
        path: made if it is not there.
        identity: what was asked, as plain containers (dataset, model, loss, schedule, seed, ...).
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        self.identity = identity
        self.checkpoint = path / "checkpoint.pt"
        self.anchor = path / checkpoint.ANCHOR
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.jsonl"
        self.weights = path / "model.safetensors"
        self.result = path / "result.json"
        self.outdated = False  # `ended` found a run that is to be replaced: `clear` before the new one writes
        self._lock: TextIO | None = None

    def acquire(self) -> None:
        """Make the folder and lock it until this process ends or `release`. UserError if another process has it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / ".lock", "a+")  # noqa: SIM115 (held open: the lock lives with it)
        except OSError as error:
            remedy = "choose another run_dir="
            raise UserError(f"cannot use the run folder {self.path}: {error.strerror}; {remedy}") from error
        if not lock(self._lock, self.path / ".lock"):
            self._lock.seek(0)
            owner = self._lock.read().strip() or "another process"
            self.release()
            remedy = "wait for it, or choose another run_dir="
            raise UserError(f"the run folder {self.path} is in use by process {owner}; {remedy}")
        try:
            self._lock.truncate(0)
            self._lock.write(f"{os.getpid()}\n")
            self._lock.flush()
        except OSError as error:
            with suppress(OSError):  # closing tries to write once more
                self.release()
            raise cannot_write(self.path, error) from error

    def release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def ended(self, overwrite: bool) -> dict[str, Any] | None:
        """The result of a run that has ended here; None if one is to begin or to go on.

        overwrite: a run that has ended, is damaged or was asked something else is `outdated`. It stays until the caller
        knows that the new one can begin. An unfinished run of what is asked goes on all the same.

        UserError if what is here is damaged or was asked something else.
        """
        try:
            result = self._result()
            if result is not None:
                self._refuse_other({key: result.get(key) for key in self.identity})
            elif self.checkpoint.exists():
                self._refuse_other(checkpoint.load(self.checkpoint).get("identity"))
        except UserError:
            if not overwrite:
                raise
            self.outdated = True
            return None
        self.outdated = result is not None and overwrite
        return None if self.outdated else result

    def _result(self) -> dict[str, Any] | None:
        if not self.result.exists():
            return None
        try:
            result = json.loads(self.result.read_text())
            return {"status": result["status"], **result}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"{self.result} is damaged; trainer.overwrite=true starts this run anew") from error

    def _refuse_other(self, identity: Any) -> None:
        """UserError that shows the difference, if the folder holds a run that was asked something else."""
        differences = _differences(identity, self.identity)
        if differences:
            shown = "; ".join(differences[:5]) + ("; ..." if len(differences) > 5 else "")
            raise UserError(
                f"{self.path} holds a run of another configuration ({shown}); "
                "choose another run_dir=, or trainer.overwrite=true to replace it"
            )

    def clear(self) -> None:
        """Remove what a run writes, and nothing else. The result goes first: without it the run has not ended.

        UserError if the disk refuses, or if a folder lies where a file should: then all is still there.
        """
        events = sorted(self.path.glob("events.out.tfevents.*"))
        files = (self.result, self.checkpoint, self.anchor, self.weights, self.metrics, self.config, *events)
        paths = [each for path in files for each in (path, path.with_name(path.name + ".part"))]  # of a killed write
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                raise UserError(f"cannot remove {path}: it is a folder; move it away, or choose another run_dir=")
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                remedy = "choose another run_dir="
                raise UserError(f"cannot remove {path}: {error.strerror}; {remedy}") from error

    def finish(self, result: dict[str, Any], keep_checkpoint: bool) -> None:
        """Write result.json last, then drop the checkpoint."""
        write_json(self.result, result)
        if not keep_checkpoint:
            self.drop_checkpoint()

    def drop_checkpoint(self) -> None:
        """Of a run that has ended; a kill may have come between its result and this. What cannot go stays."""
        for path in (self.checkpoint, self.anchor):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _differences(there: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    before, now = flat(plain(there)), flat(plain(asked))  # as result.json has them: inf is a word there
    keys = sorted(before.keys() | now.keys())
    return [
        f"{key} is {before.get(key, 'absent')} there, {now.get(key, 'absent')} asked"
        for key in keys
        if before.get(key, "absent") != now.get(key, "absent")
    ]


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Groups within groups on one level: {"schedule": {"lr": {"base": 1}}} -> {"schedule.lr.base": 1}."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        key: leaf
        for name, child in value.items()
        for key, leaf in flat(child, f"{prefix}.{name}" if prefix else str(name)).items()
    }
