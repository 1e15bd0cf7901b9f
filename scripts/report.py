"""One HTML page with all tables, figures and studies, their commands and the state of every row; nothing is trained.

    python scripts/report.py
    python scripts/report.py profile=tiny seeds=1

profile=   full, small or tiny alone; without it full, small and the studies, in outputs/results/report.html
seeds=     runs that a row should have (3)

The page holds its figures: one file, to be opened or sent as it is.
"""

import _root  # noqa: F401

# isort: split

import base64
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.settings import ROOT
from scripts import _cli, _records, _values
from scripts._plan import (
    Cell,
    cells,
    command,
    figure_cells,
    figure_recipes,
    names,
    note,
    own_note,
    read_figure,
    read_profile,
    read_study,
    read_table,
)

OWN = ["profile", "seeds"]
_NAMES = {"full": "Full size", "small": "Reduced form", "tiny": "Check of the pipeline"}


def report(arguments: list[str]) -> None:
    """See above."""
    own, rest = _cli.split_options(arguments, OWN)
    _cli.refuse(rest, OWN)
    profiles, seeds = [own["profile"]] if "profile" in own else ["full", "small"], _values.whole(own, "seeds", 3)
    for profile in profiles:
        read_profile(profile)  # exists

    from lsoftmax.files import make_folder, write_text

    path = _records.results_folder(profiles[0]) / "report.html"
    make_folder(path.parent)
    parts = [part(profile, seeds) for profile in profiles]
    write_text(path, page(parts if "profile" in own else [*parts, studies()]))
    print(f"report   {path.relative_to(ROOT)}")


def page(parts: Sequence[dict[str, Any]]) -> str:
    """The whole page of these parts."""
    from jinja2 import Environment, StrictUndefined  # comes with torch

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((Path(__file__).parent / "report.html.jinja").read_text()).render(parts=parts)


def part(profile: str, seeds: int) -> dict[str, Any]:
    """All tables and figures of one profile."""
    records = _records.read_records(profile)
    return {
        "name": _NAMES.get(profile, profile),
        "note": note(profile) or "The paper's networks, data and number of steps.",
        "tables": [_table(number, profile, records, seeds) for number in names("table")],
        "figures": [_figure(name, profile, records, seeds, recipe) for name, recipe in _figures_and_recipes()],
        "studies": [],
    }


def studies() -> dict[str, Any]:
    """All studies, which have no size but their own."""
    return {
        "name": "Does the margin pay?",
        "note": "Studies on reduced problems, but for those that name the paper's size.",
        "tables": [],
        "figures": [],
        "studies": [_study(name) for name in names("study")],
    }


def _study(name: str) -> dict[str, Any]:
    from scripts import _studies, _tables

    study, place = read_study(name), _records.STUDIES
    wanted = figure_cells(study, read_profile(study["profile"]), study["seeds"])
    records = _records.read_records(*_records.sources(place))
    results = _tables.collect(wanted, records)
    folder = _records.results_folder(place)  # of figures.study: another study's name may begin with this one's
    pictures = sorted(path for kind in ("traces", "over", "by") for path in folder.glob(f"{name}_{kind}_*.svg"))
    return {
        "title": study["title"],
        "text": study["text"],
        "command": command("study", name, "full"),
        "problems": list(_studies.problems(study, results)),
        "pictures": [base64.b64encode(path.read_bytes()).decode() for path in pictures],
        "meaning": _studies.meaning(study, results),
        "origin": _studies.origin(results, _tables.left_out(wanted, records)),
    }


def _table(number: str, profile: str, records: dict[str, _records.Record], seeds: int) -> dict[str, Any]:
    from scripts import _tables

    table = read_table(number)
    wanted = list(cells(table, read_profile(profile), seeds))
    results = _tables.collect(wanted, records)
    lines = list(csv.DictReader(io.StringIO(_tables.comma_separated(table, results))))
    runs = [run for found in results.values() for run in found]
    others = _tables.left_out(wanted, records)
    return {
        "name": f"Table {number}",
        "title": table["title"],
        "command": command("table", number, profile),
        "columns": [
            {
                "label": column["label"],
                "lines": [_line(line, seeds) for line in lines if line["column"] == column["label"]],
            }
            for column in table["columns"]
        ],
        "note": own_note(table, profile),  # the profile's stands above all tables
        "origin": (_tables.made_with(runs) + "." if runs else "No run of this table has been made yet.")
        + (f" Left out: {others} records of runs on other data." if others else ""),
    }


def _line(line: dict[str, str], seeds: int) -> dict[str, Any]:
    """A line of the table's CSV as the page shows it."""
    failed = [f"{line[word]} {word}" for word in ("diverged", "collapsed") if line[word] not in ("", "0")]
    spread = f" ± {float(line['std']):.2f}" if line["std"] else ""
    interval = f" [{_signed(line['low'])}, {_signed(line['high'])}]" if line["low"] else ""
    return {
        "method": line["method"],
        "recipe": line["recipe"],
        "paper": f"{float(line['paper']):.2f}" if line["paper"] else "N/A",
        "ours": f"{float(line['mean']):.2f}{spread}" if line["mean"] else "",
        "difference": _signed(line["difference"]),
        "against": _signed(line["against_softmax"]) + interval,
        "state": ", ".join([state(int(line["runs"] or 0), seeds), *failed]) if line["recipe"] else "",
    }


def _figures_and_recipes() -> list[tuple[str, str]]:
    return [(name, recipe) for name in names("figure") for recipe in figure_recipes(read_figure(name))]


def _figure(name: str, profile: str, records: dict[str, _records.Record], seeds: int, recipe: str) -> dict[str, Any]:
    from scripts import _figures

    plan = read_figure(name)
    wanted = figure_cells(plan, read_profile(profile), seeds, recipe)
    path = _figures.paths(name, profile, recipe)["svg"]
    return {
        "name": (f"Figure {name}" if name.isdecimal() else name) + ("" if recipe == "best" else f", recipe {recipe}"),
        "title": plan["title"],
        "command": command("figure", name, profile, recipe),
        "picture": base64.b64encode(path.read_bytes()).decode() if path.exists() else None,
        "caption": _figures.caption(name, profile, plan, wanted, records),
        "rows": _rows(wanted, records, seeds),
    }


def _rows(wanted: Sequence[Cell], records: dict[str, _records.Record], seeds: int) -> list[dict[str, str]]:
    from scripts import _tables

    results = _tables.collect(wanted, records)
    return [
        {"label": f"{column}, {row}", "state": state(len(runs), seeds)} for (row, column, _), runs in results.items()
    ]


def state(made: int, seeds: int) -> str:
    """done 2/3, not run"""
    return f"done {made}/{seeds}" if made else "not run"


def _signed(value: str) -> str:
    from scripts import _tables

    return _tables.signed(float(value)) if value else ""


if __name__ == "__main__":
    sys.exit(_cli.main(report, __doc__))
