"""Records -> a figure's PNG and SVG, with a caption that says what it shows and where it comes from."""

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts import _features, _records, _studies, _tables
from scripts._plan import Cell, command, note
from scripts._records import Record
from scripts.figures import Material, draw


def can_draw() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def folder(profile: str) -> Path:
    return _records.results_folder(profile) / "figures"


def paths(name: str, profile: str, recipe: str = "best") -> dict[str, Path]:
    """Where the figure lies, by kind of file."""
    stem = (f"figure{name}" if name.isdecimal() else name) + ("" if recipe == "best" else f"_{recipe}")
    return {kind: folder(profile) / f"{stem}.{kind}" for kind in ("png", "svg")}


def write(name: str, profile: str, plan: dict[str, Any], wanted: Sequence[Cell], records: dict[str, Record]) -> Path:
    """Both files; the PNG's path. ImportError where matplotlib is missing."""
    from scripts.figures import style

    figure = draw(name, material(plan, profile, wanted, records))
    png = paths(name, profile, wanted[0].recipe if wanted else "best")["png"]
    return _write(png, style.written(figure, caption(name, profile, plan, wanted, records)))


def write_study(name: str, place: Path, study: dict[str, Any], results: _tables.Results, others: int = 0) -> list[Path]:
    """The figures that a study's file asks for, beside its table in `place`; the PNGs' paths."""
    from scripts.figures import style
    from scripts.figures.study import draw as draw_study

    runs = [run for found in results.values() for run in found]
    said = (
        f"{study['title']}. {command('study', name, 'full')}. Seeds: {_seeds(runs)}. {_studies.origin(results, others)}"
    )
    written = []
    with style.applied():
        for which, figure in draw_study(study, results):
            contents = style.written(figure, said)
            told = re.sub("[^a-z0-9_.+]+", "_", which.lower())
            written.append(_write(place / f"{name}_{told}.png", contents))
    return written


def _write(png: Path, contents: dict[str, bytes]) -> Path:
    from lsoftmax.files import make_folder, write_atomically

    make_folder(png.parent)
    for kind, content in contents.items():
        write_atomically(png.with_suffix(f".{kind}"), lambda file, content=content: file.write(content))  # type: ignore[misc]
    return png


def material(plan: dict[str, Any], profile: str, wanted: Sequence[Cell], records: dict[str, Record]) -> Material:
    """The records of exactly what the figure asks for, and the features of the first seed where it shows them."""
    results = _tables.collect(wanted, records)
    runs = {(row, column): found for (row, column, _), found in results.items()}
    features = {}
    if "features" in plan:
        for place, found in runs.items():
            kept = _features.read(found[0], profile) if found and found[0]["seed"] == 0 else None
            if kept is not None:
                features[place] = kept
    return Material(plan, runs, features)


def caption(name: str, profile: str, plan: dict[str, Any], wanted: Sequence[Cell], records: dict[str, Record]) -> str:
    """Title, command, seeds, how it was made."""
    recipe = wanted[0].recipe if wanted else "best"
    said = [plan["title"], command("figure", name, profile, recipe)]
    if not wanted:
        return ". ".join([*said, "Drawn from the formulas"]) + "."
    said.append(note(profile))
    if not (made := runs(wanted, records)):
        return ". ".join([*filter(None, said), "No run has been made yet"]) + "."
    shown = " (features: seed 0)" if "features" in plan else ""
    said += [f"Recipe `{recipe}`, seeds {_seeds(made)}{shown}, {len(made)} of {len(wanted)} runs"]
    said += [_tables.made_with(made)]
    others = _tables.left_out(wanted, records)
    return ". ".join([*filter(None, said), *([f"Left out: {others} runs on other data"] if others else [])]) + "."


def runs(wanted: Sequence[Cell], records: dict[str, Record]) -> list[Record]:
    """The records that there are of these."""
    return [run for found in _tables.collect(wanted, records).values() for run in found]


def _seeds(runs: Sequence[Record]) -> str:
    return ", ".join(str(seed) for seed in sorted({run["seed"] for run in runs}))
