"""How long a run should take, as far as records tell."""

import statistics
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from scripts._plan import Cell
from scripts._records import Record


def of_the_same_kind(cell: Cell, records: Iterable[Record], device: str) -> tuple[float, str] | None:
    """Seconds, of what runs of the same network on the same data took for an image, and where they ran: here, if there
    are such runs, else on another device. None without any.
    """
    ended = [run for run in records if run["status"] == "finished"]  # others stopped before their last step
    same = [r for r in ended if r["dataset"] == cell.identity["dataset"] and r["model"] == cell.identity["model"]]
    here = [run for run in same if run["device"] == device] or same
    if not here:
        return None
    rate: float = statistics.median(run["seconds"] / _images(run["schedule"]) for run in here)  # some were paused
    return rate * _images(cell.identity["schedule"]), here[0]["device"]


def by_other_networks(cell: Cell, records: Iterable[Record], device: str) -> float | None:
    """Seconds, of what the fastest other run on this device took for a multiply-add: small networks leave it idle.

    None without such runs, and for a data set whose images' shape is known only from its files.
    """
    here = [run for run in records if run["device"] == device and run["status"] == "finished"]
    if not here or (size := _multiply_adds(cell)) is None:
        return None
    rate: float = min(run["seconds"] / (run["multiply_adds"] * _images(run["schedule"])) for run in here)
    return rate * size * _images(cell.identity["schedule"])


def _images(schedule: dict[str, Any]) -> int:
    return int(schedule["steps"] * schedule["batch_size"])


def _multiply_adds(cell: Cell) -> int | None:
    """Of the network without its classifier; None if the images' shape is not known."""
    import torch

    import models
    from data.synthetic import kind_like

    dataset = cell.settings.dataset
    kind = kind_like(getattr(dataset, "like", dataset.name))
    if kind is None:
        return None
    shape = kind.shape
    with torch.device("meta"):
        return models.multiply_adds(models.build(image_shape=shape, **asdict(cell.settings.model)), shape)
