"""TensorBoard's hyper-parameter view of the records: tensorboard --logdir outputs/runs/hparams."""

import os
import shutil
from pathlib import Path
from typing import Any

from configs.settings import ROOT
from scripts import _records
from scripts._records import Record

METRICS = ("test_error", "train_error")  # percent


def write(records: dict[str, Record], profile: str) -> Path | None:
    """An entry for each record that has none yet; None where TensorBoard is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams
    except ImportError:
        return None
    folder = ROOT / "outputs" / "runs" / "hparams" / profile
    for record in records.values():
        metrics = {key: _number(record[key]) for key in METRICS}
        # A run that was made again has another entry.
        entry = folder / f"{_records.stem(record)}_{'_'.join(map(str, metrics.values()))}"
        if not entry.exists():
            # Another process may be at the same record: what it writes is its own, and who comes second leaves it.
            for old in folder.glob(f"{_records.stem(record)}*"):
                if not old.name.endswith(".part"):
                    shutil.rmtree(old, ignore_errors=True)
            writer: Any = SummaryWriter(str(unfinished := entry.with_name(f"{entry.name}_{os.getpid()}.part")))
            parameters = hyper_parameters(record)
            # What add_hparams writes, in one file instead of two.
            for summary in hparams(parameters, metrics):  # type: ignore[no-untyped-call]
                writer._get_file_writer().add_summary(summary)
            for key, value in metrics.items():
                writer.add_scalar(key, value)
            writer.close()
            try:
                unfinished.rename(entry)
            except OSError:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def hyper_parameters(record: Record) -> dict[str, str | int | float | bool]:
    """What was asked, on one level: schedule.lr.base, loss.m, ...; what TensorBoard has no type for, as text."""
    from lsoftmax.engine.folder import flat

    asked = flat({key: record[key] for key in ("dataset", "model", "loss", "schedule", "seed")})
    return {key: value if isinstance(value, str | int | float | bool) else str(value) for key, value in asked.items()}


def _number(value: float | None) -> float:
    """A diverged run has no error: nan, which TensorBoard shows as such."""
    return float("nan") if value is None else value
