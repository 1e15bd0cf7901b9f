"""Records -> a table as Markdown and CSV: the paper's number, ours as mean ± std (n), the difference, what failed."""

import csv
import io
import json
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lsoftmax.engine.folder import identity_sha256
from lsoftmax.metrics import paired_difference
from scripts._known_data import expected_sha256
from scripts._metric import METRICS, Metric
from scripts._plan import RECIPES, Cell
from scripts._records import Record


class Compared(NamedTuple):
    """Runs minus the baseline's on the same tests, in percent; no interval where one of them has a single run."""

    difference: float
    low: float | None
    high: float | None


_RECIPES = "`paper` is Section 5.1 with the authors' lambda, `best` what the bare command runs"  # unless a table says

Results = dict[tuple[str, str, str], list[Record]]  # (row, column, recipe) -> the runs that there are


def collect(cells: Sequence[Cell], records: dict[str, Record]) -> Results:
    """Only records of exactly what the table asks for count, and of those only the ones on the same data.

    These are the published files' where their digest is known (`_known_data`), else those of most records in a column
    that ask for the same of its data set: images set apart make other data.
    """
    found: Results = {}
    for cell, key, counts in _asked(cells, records):
        found.setdefault((cell.row, cell.column, cell.recipe), []).extend([records[key]] if counts else [])
    return found


def left_out(cells: Sequence[Cell], records: dict[str, Record]) -> int:
    """How many records of what the table asks for are on other data."""
    return len({key for _, key, counts in _asked(cells, records) if key in records and not counts})


def _asked(cells: Sequence[Cell], records: dict[str, Record]) -> list[tuple[Cell, str, bool]]:
    """Each cell, the key of its record, and whether there is one that counts."""
    asked = []
    digests: dict[tuple[str, str], list[str]] = {}  # of the records of each kind
    for cell in cells:
        what = cell.identity
        key, kind = identity_sha256(what), (cell.column, json.dumps(what["dataset"], sort_keys=True))
        digests.setdefault(kind, []).extend([records[key]["dataset_sha256"]] if key in records else [])
        asked.append((cell, key, kind))
    data = {
        kind: expected_sha256(json.loads(kind[1])) or (statistics.mode(found) if found else None)
        for kind, found in digests.items()
    }
    return [(cell, key, key in records and records[key]["dataset_sha256"] == data[kind]) for cell, key, kind in asked]


def markdown(table: dict[str, Any], results: Results, command: str, note: str, others: int = 0) -> str:
    """The whole table, with the command that fills it and where the numbers come from.

    others: records on other data, which are left out.
    """
    lines = [f"# {table['title']}", "", f"`{command}`", "", *([note, ""] if note else [])]
    for column in table["columns"]:
        lines += [f"## {column['label']}", "", *_column(table, column["label"], results), ""]
    runs = [record for found in results.values() for record in found]
    lines += provenance(runs, METRICS[table["metric"]], table.get("recipes", _RECIPES))
    if others:
        lines += ["", f"Left out: {others} records of runs on other data."]
    return "\n".join(lines) + "\n"


HEAD = ["column", "method", "paper", "recipe", "mean", "std", "n", "runs", "difference"]
HEAD += ["against_softmax", "low", "high", "diverged", "collapsed", "worse", "values"]


def comma_separated(table: dict[str, Any], results: Results) -> str:
    """A line per row, column and recipe."""
    out = io.StringIO()
    writer = csv.DictWriter(out, HEAD, lineterminator="\n")
    writer.writeheader()
    for index, column in enumerate(table["columns"]):
        for row in table["published"]:
            writer.writerow({"column": column["label"], "method": row["label"], "paper": row["numbers"][index]})
        for row in table["rows"]:
            for recipe in RECIPES:
                writer.writerow(
                    _line(row, column["label"], recipe, row["numbers"][index], results, METRICS[table["metric"]])
                )
    return out.getvalue()


def _line(
    row: dict[str, Any], column: str, recipe: str, paper: float | None, results: Results, metric: Metric
) -> dict[str, Any]:
    runs = results[row["label"], column, recipe]
    softmax = results["Softmax", column, recipe]
    values, failed = numbers(runs, metric), [metric.verdict(run, softmax) for run in runs]
    mean = statistics.mean(values) if values else None
    against = _against(softmax, runs, row["label"], metric)
    return {
        "column": column,
        "method": row["label"],
        "paper": paper,
        "recipe": recipe,
        "mean": mean,
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "n": len(values),
        "runs": len(runs),
        "difference": None if mean is None or paper is None else mean - paper,
        "against_softmax": against.difference if against else None,
        "low": against.low if against else None,
        "high": against.high if against else None,
        "diverged": failed.count("diverged"),
        "collapsed": failed.count("collapsed"),
        "worse": _worse(values, numbers(softmax, metric), metric) if row["label"] != "Softmax" else 0,
        "values": values,
    }


def _column(table: dict[str, Any], column: str, results: Results) -> list[str]:
    index = [c["label"] for c in table["columns"]].index(column)
    head = "| method | paper | " + " | ".join(f"ours, {r} | difference | against softmax" for r in RECIPES) + " |"
    lines = [head, "|---|---:|" + "---:|---:|---|" * len(RECIPES)]
    for row in table["published"]:
        lines.append(f"| {row['label']} | {_number(row['numbers'][index])} |" + " | | |" * len(RECIPES))
    for row in table["rows"]:
        paper = row["numbers"][index]
        cells = [_ours(row["label"], column, recipe, paper, results, METRICS[table["metric"]]) for recipe in RECIPES]
        lines.append(f"| **{row['label']}** | {_number(paper)} | {' | '.join(cells)} |")
    return lines


def _ours(row: str, column: str, recipe: str, paper: float | None, results: Results, metric: Metric) -> str:
    """mean ± std (n), the difference to the paper, and the paired comparison with softmax on the same tests."""
    runs, softmax = results[row, column, recipe], results["Softmax", column, recipe]
    values = numbers(runs, metric)
    failed = Counter(word for word in (metric.verdict(run, softmax) for run in runs) if word != "finished")
    worse = _worse(values, numbers(softmax, metric), metric) if row != "Softmax" else 0
    counts = [*sorted(failed.items()), *([("worse", worse)] if worse else [])]
    said = "".join(f"; {count} {word}" for word, count in counts)
    if not values:
        return f"{'not run' if not runs else 'no number'}{said} | | "
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    mean = statistics.mean(values)
    ours = f"{mean:.2f}{spread} ({len(values)}{said})"
    difference = "" if paper is None else signed(mean - paper)
    against = _against(softmax, runs, row, metric)
    return f"{ours} | {difference} | {said_of(against) if against else ''}"


def _worse(values: list[float], softmax: list[float], metric: Metric) -> int:
    """How many are worse than the mean of softmax's."""
    if not softmax:
        return 0
    mean = statistics.mean(softmax)
    return sum(value > mean if metric.better == "lower" else value < mean for value in values)


def said_of(compared: Compared) -> str:
    """The difference, and its interval where there is one."""
    if compared.low is None or compared.high is None:
        return signed(compared.difference)
    return f"{signed(compared.difference)} [{signed(compared.low)}, {signed(compared.high)}]"


def _against(softmax: list[Record], runs: list[Record], row: str, metric: Metric) -> Compared | None:
    return None if row == "Softmax" else compared(softmax, runs, metric)


def compared(baseline: list[Record], runs: list[Record], metric: Metric) -> Compared | None:
    """None where one of them has no number, or does not tell what it got wrong."""
    return _compared(_wrong(baseline, metric), _wrong(runs, metric), _sizes(runs, metric), metric, matched=False)


def compared_by_part(
    baseline: dict[str, list[Record]], runs: dict[str, list[Record]], metric: Metric, *, own_images: bool
) -> Compared | None:
    """The same of the parts that both have numbers of: the mean of a part's runs against the baseline's there.

    own_images: each part is tested on its own, so that what varies from part to part is all there is.
    """
    wrong = [{part: _wrong(found, metric) for part, found in way.items()} for way in (baseline, runs)]
    pairs = [
        (there, ours)
        for part, ours in wrong[1].items()
        if (there := wrong[0].get(part)) is not None and ours is not None
    ]
    if not pairs:
        return None
    sizes = _sizes([run for found in runs.values() for run in found], metric)
    means = [[way.double().mean(dim=0) for way in pair] for pair in pairs]
    if own_images:
        means = [[(way.sum() / (len(way) if sizes is None else sizes.sum()))[None] for way in pair] for pair in means]
        sizes = None
    first, second = (torch.stack(ways) for ways in zip(*means, strict=True))
    return _compared(first, second, sizes, metric, matched=True)


def _sizes(runs: list[Record], metric: Metric) -> Tensor | None:
    return next((sizes for run in runs if (sizes := metric.sizes(run)) is not None), None)


def _compared(
    first: Tensor | None, second: Tensor | None, sizes: Tensor | None, metric: Metric, matched: bool
) -> Compared | None:
    if first is None or second is None or first.shape[1:] != second.shape[1:]:
        return None
    if metric.better == "lower":
        first, second = second, first
    by = paired_difference(first, second, sizes=sizes, matched=matched)
    known = len(first) > 1 and len(second) > 1  # how far seeds move a number, no single run tells
    return Compared(by.difference, by.low if known else None, by.high if known else None)


def _wrong(runs: list[Record], metric: Metric) -> Tensor | None:
    """(S, N) what each run got wrong, of those that have a number."""
    told = [metric.wrong(run) for run in runs if metric.value(run) is not None]
    known = [wrong for wrong in told if wrong is not None]
    return torch.stack(known) if known and len(known) == len(told) else None


def signed(value: float) -> str:
    """No sign at nothing: -0.00 would read as better."""
    return "0.00" if abs(value) < 0.005 else f"{value:+.2f}"


def numbers(runs: list[Record], metric: Metric) -> list[float]:
    """A collapsed run counts with its number; a diverged one, counted beside, has none unless it was rescued."""
    return [value for value in map(metric.value, runs) if value is not None]


def _number(value: float | None) -> str:
    return "N/A" if value is None else f"{value:.2f}"


def provenance(runs: list[Record], metric: Metric, recipes: str) -> list[str]:
    """What the numbers mean and where they come from, in Markdown lines."""
    if not runs:
        return ["No run of this table has been made yet."]
    meaning = (
        f"{metric.meaning}, mean ± standard deviation (runs; how many of them collapsed or diverged, and how many are "
        "worse than our softmax's mean). `difference` is ours minus the paper's; "
        f"`against softmax` ours minus our softmax on the same test {metric.tests}, with a 95 % interval "
        f"over seeds and {metric.tests} where both have two runs. {recipes}. "
        f"{metric.collapsed}"
    )
    return [meaning, "", f"{made_with(runs)}."]


def made_with(runs: list[Record]) -> str:
    """Hardware, versions, precision, data and time of the runs, in one line."""
    seconds = sum(run["seconds"] for run in {run["config_sha256"]: run for run in runs}.values())
    parts = {
        "device": {f"{run['device']}, {run['threads']} threads" for run in runs},
        "torch": {run["versions"]["torch"] for run in runs},
        "precision": {run["precision"] for run in runs},
        "data": {run["dataset_sha256"][:12] for run in runs},
        "code": {str(run["versions"]["git"]) for run in runs},
    }
    said = "; ".join(f"{name} {', '.join(sorted(values))}" for name, values in parts.items())
    return f"{said}; {seconds / 3600:.2f} hours in all"
