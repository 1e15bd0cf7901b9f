"""Features of a few images, kept beside a run's record: figures that show them are drawn without training."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.settings import from_file
from scripts import _records
from scripts._plan import figure_cells, figure_recipes, names, read_figure
from scripts._records import Record

Wanted = dict[str, Any]  # of a figure's file: sets, per_class
Arrays = dict[str, Any]  # SET_features (N, D) float16, SET_labels (N,) uint8: numpy's, by class

_MOST_BYTES = 250_000  # of one file's features, before they are compressed


def wanted(profile: dict[str, list[str]]) -> Iterator[tuple[dict[str, Any], Wanted]]:
    """(identity, what to keep) of every run whose features a figure shows: the first seed of its rows."""
    for name in names("figure"):
        plan = read_figure(name)
        if "features" in plan:
            for recipe in figure_recipes(plan):
                for cell in figure_cells(plan, profile, 1, recipe):
                    yield cell.identity, plan["features"]


def path(record: Record, profile: str) -> Path:
    return _records.folder(profile) / f"{_records.stem(record)}.npz"


def keep(run: Path, record: Record, what: Wanted, profile: str) -> Path | None:
    """Write the features of the run in the folder `run`; None if its weights are not there (or not this record's)."""
    if not is_run_of(run, record):
        return None
    import io

    import numpy as np

    from lsoftmax.files import make_folder, write_atomically

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **_measure(run, what))
    make_folder(path(record, profile).parent)
    write_atomically(path(record, profile), lambda file: file.write(buffer.getvalue()))
    return path(record, profile)


def read(record: Record, profile: str) -> Arrays | None:
    """The features of this record's run; None if none were kept. UserError for a damaged file."""
    import numpy as np

    from lsoftmax.errors import UserError, first_line

    if not path(record, profile).exists():
        return None
    try:
        with np.load(path(record, profile), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # numpy and zipfile raise whatever a damaged file leads to
        said = f"cannot be read ({first_line(error)}); restore it, or delete it to have it made again"
        raise UserError(f"{path(record, profile)}: {said}") from error


def is_run_of(run: Path, record: Record) -> bool:
    try:
        result = json.loads((run / "result.json").read_text())
    except (OSError, ValueError):
        return False
    return _records.is_of(result, record) and (run / "model.safetensors").exists()


def _measure(run: Path, what: Wanted) -> Arrays:
    from assemble import build_network, evaluation_batches, load_data, parts
    from lsoftmax.engine.device import choose_device, set_determinism
    from lsoftmax.engine.verification import embed
    from lsoftmax.engine.weights import load_into, read_weights

    settings = from_file(run / "config.yaml")
    device = choose_device(settings.device)
    set_determinism(True)
    weights = run / "model.safetensors"
    tensors, _ = read_weights(weights)
    splits = parts(load_data(settings))
    backbone, _ = build_network(settings, splits["test"], device)
    load_into(backbone, tensors, "backbone", weights)
    classes = splits["test"].num_classes
    row_bytes = 2 * backbone.feature_size * len(what["sets"])
    per_class = max(1, min(what["per_class"], _MOST_BYTES // (row_bytes * classes)))
    found: Arrays = {}
    for name in what["sets"]:
        chosen = splits[name].subset(first_of_each(splits[name].labels, classes, per_class))
        features = embed(backbone, evaluation_batches(settings, chosen, tensors["input.mean"], device))
        found[f"{name}_features"] = features.half().numpy()
        found[f"{name}_labels"] = chosen.labels.byte().numpy()
    return found


def first_of_each(labels: Any, classes: int, count: int) -> Any:
    """(<= classes * count,) indices: the first `count` images of class 0, then of class 1, ..."""
    import torch

    return torch.cat([(labels == label).nonzero().flatten()[:count] for label in range(classes)])
