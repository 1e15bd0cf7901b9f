"""The folder in which a pack comes into being: beside the one it will be, held by one process, resumed after a kill."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from lsoftmax.errors import UserError
from lsoftmax.files import cannot_write, lock, write_json

SPARE = 64 * 2**20  # bytes that are left free


class Workplace:
    """OUT.part, which becomes OUT.

    plan: what is to be made; another plan in the same place is refused.
    """

    def __init__(self, out: Path, plan: dict[str, Any]) -> None:
        if not out.name:
            raise UserError(f"out={out}: name a new folder for the pack")
        self.out = out
        self.folder = out.with_name(out.name + ".part")
        self._plan = plan

    def finished(self) -> bool:
        """Whether OUT is there, made by this plan. UserError if it is something else."""
        try:
            if not self.out.exists():
                return False
        except OSError as error:  # no name that a folder can have
            raise cannot_write(self.out, error) from None
        try:
            there = _today(json.loads((self.out / "manifest.json").read_text())["plan"])
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"out={self.out}: exists, and is no pack of this program; choose another") from None
        if there != self._plan:
            raise UserError(f"out={self.out}: holds a pack made otherwise ({_first_difference(there, self._plan)})")
        return True

    def __enter__(self) -> "Workplace":
        path = self.folder / ".lock"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = open(path, "a")  # noqa: SIM115 (the lock lives with it)
        except OSError as error:
            raise cannot_write(path, error) from None
        try:
            if not lock(self._lock, path):
                raise UserError(f"{self.folder} is in use by another process")
            self._check_plan()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def check_space(self, wanted: int) -> None:
        """UserError unless so many bytes are free."""
        free = shutil.disk_usage(self.folder).free
        if free < wanted + SPARE:
            raise UserError(f"out={self.out}: takes {_gigabytes(wanted)} more, only {_gigabytes(free)} are free")

    def finish(self) -> None:
        """Make it what it is to be."""
        try:
            os.rename(self.folder, self.out)
        except OSError as error:
            raise cannot_write(self.out, error) from None
        for name in ("plan.json", "parts.jsonl", ".lock"):  # not before: they are what a failure goes on from
            (self.out / name).unlink(missing_ok=True)

    def _check_plan(self) -> None:
        path = self.folder / "plan.json"
        if not path.exists():
            write_json(path, self._plan)
            return
        try:
            there = _today(json.loads(path.read_text()))
        except (OSError, ValueError):
            raise UserError(f"{path} is damaged; delete {self.folder} to start anew") from None
        if there != self._plan:
            raise UserError(
                f"{self.folder} is the beginning of another pack ({_first_difference(there, self._plan)}); "
                "finish it, delete it, or choose another out="
            )


def _today(plan: Any) -> Any:
    """Without what older plans say of a normalisation: packs hold bytes, nothing ever applied it to them."""
    return {key: plan[key] for key in plan if key != "normalisation"} if isinstance(plan, dict) else plan


def _first_difference(there: Any, asked: dict[str, Any]) -> str:
    there = there if isinstance(there, dict) else {}
    key = next((key for key in asked if there.get(key) != asked[key]), "")
    return f"{key} is {there.get(key)} there, {asked.get(key)} asked"


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
