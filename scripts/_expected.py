"""What is missing, and how long a run should take, as far as records tell."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from scripts._plan import Cell
from scripts._records import STUDIES, Record, read_records


def overview(
    title: str, wanted: Sequence[Cell], missing: Sequence[Cell], records: dict[str, Record], device: str
) -> str:
    """What there is, what is missing and what it takes, as far as records tell."""
    from lsoftmax.engine.device import choose_device, describe

    lines, known = [f"{title}: {len(wanted)} cells, {len(missing)} runs missing"], 0.0
    here = describe(choose_device(device))
    every: list[Record] = []  # that was ever made, once it is asked for
    columns = max((len(cell.column) for cell in missing), default=0)
    rows = max((len(cell.row) for cell in missing), default=0)
    for cell in missing:
        same = of_the_same_kind(cell, records.values(), here)
        if same is not None:
            seconds: float | None = same[0]
            like = "about {:.0f} min" + (f" on {same[1]}" if same[1] != here else "")
        else:
            every = every or list(read_records("full", "small", STUDIES).values())
            seconds = by_other_networks(cell, every, here)
            like = "some {:.0f} min, by other networks' speed"
        known += seconds or 0.0
        about = "time unknown" if seconds is None else like.format(seconds / 60)
        lines.append(f"  {cell.column:{columns}}  {cell.row:{rows}}  {cell.recipe:5}  seed={cell.seed}  {about}")
    if known:
        lines.append(f"  about {known / 60:.0f} min in all, one after another")
    return "\n".join(lines)


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
