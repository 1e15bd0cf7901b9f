"""Records -> the numbers of a study: a line per way, of how runs ended, errors, what became of angles and norms."""

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from scripts import _tables
from scripts._metric import METRICS, Metric
from scripts._records import Record
from scripts._tables import Results

RECIPE = "best"  # of a study's cells: it compares ways in its own words
ENDS = ("finished", "collapsed", "diverged")
Difference = _tables.Compared | None
DIFFERENCE = ("difference", "low", "high")  # to the baseline, and its 95 % interval
NUMBERS = ("mean", "std", "n", *DIFFERENCE)


@dataclass(frozen=True)
class Column:
    """A number of a run: how the table calls it, how it is written, where it comes from; None where there is none."""

    key: str
    head: str
    form: str
    of: Callable[[Record], float | None]


def _at_the_end(name: str) -> Callable[[Record], float | None]:
    return lambda run: run["trace"][-1].get(name) if run.get("trace") else None


def _cosine(of: str, where: str) -> Callable[[Record], float | None]:
    """Of the features of training images, or of those that the study's error is of; records were once without."""

    def found(run: Record) -> float | None:
        sets = run.get("cosines") or {}
        chosen = sets.get("train") if where == "train" else sets.get("val", sets.get("test"))
        return chosen[of] if chosen else None

    return found


COSINES = (
    Column("same_train", "same class, train", ".2f", _cosine("same_class", "train")),
    Column("same_class", "same class", ".2f", _cosine("same_class", "held out")),
    Column("other_classes", "other classes", ".2f", _cosine("other_classes", "held out")),
)
UNSEEN = ("unseen", "unseen_tar", "unseen_eer")  # of METRICS, what scripts/unseen.py measures
# The instruments are the last batch's, with the last step's weights.
INSTRUMENTS = (
    Column("train_error", "train error", ".1f", lambda run: run["train_error"]),
    Column("target_angle", "angle", ".0f", _at_the_end("target_angle_q50")),
    Column("feature_norm", "norm of x", ".1f", _at_the_end("feature_norm")),
    Column("weight_norm", "norm of w", ".2f", _at_the_end("weight_norm")),
    Column("lam", "lambda", ".2g", _at_the_end("lam")),
    *COSINES,
)


def over_setting(study: dict[str, Any], results: Results) -> Iterator[Metric]:
    """What a study over a setting has a table and a figure of: its own metric, and what unseen.py has measured."""
    for metric in (METRICS[study["metric"]], METRICS["unseen"]) if "over" in study else ():
        if metric is METRICS[study["metric"]] or any(_tables.numbers(runs, metric) for runs in results.values()):
            yield metric


def filled(results: Results) -> list[Column]:
    """The columns that some run has a number for."""
    runs = [run for found in results.values() for run in found]
    return [column for column in INSTRUMENTS if any(column.of(run) is not None for run in runs)]


def have_own_images(study: dict[str, Any]) -> bool:
    """Whether the parts of a study of parts are tested on other images each: parts of the classes are."""
    return "dataset.first_class" in study["parts"]


def by_part(study: dict[str, Any], results: Results) -> dict[str, dict[str, float]]:
    """{way: {part: the mean of its runs}}, of those that have a number."""
    labels, metric = [column["label"] for column in study["columns"]], METRICS[study["metric"]]
    found = {}
    for way in (row["label"] for row in study["rows"]):
        values = {label: _tables.numbers(results.get((way, label, RECIPE), []), metric) for label in labels}
        found[way] = {label: statistics.mean(of) for label, of in values.items() if of}
    return found


def all_parts(study: dict[str, Any], results: Results, metric: Metric) -> list[dict[str, Any]]:
    """A line per way: its runs on all parts, and the difference on those that the baseline has too."""

    def runs_of(way: str) -> dict[str, list[Record]]:
        return {column["label"]: results.get((way, column["label"], RECIPE), []) for column in study["columns"]}

    def difference(way: str, metric: Metric) -> Difference:
        ours, theirs = runs_of(way), runs_of(study["baseline"])
        if (paired := _tables.compared_by_part(theirs, ours, metric, own_images=have_own_images(study))) is not None:
            return paired
        both = [[_tables.numbers(of[part], metric) for of in (ours, theirs)] for part in ours]
        apart = [statistics.mean(pair[0]) - statistics.mean(pair[1]) for pair in both if all(pair)]
        return _tables.Compared(statistics.mean(apart), None, None) if apart else None

    found = []
    for way in (row["label"] for row in study["rows"]):
        runs, baseline = ([run for there in runs_of(of).values() for run in there] for of in (way, study["baseline"]))
        found.append({"problem": "all parts", **_line(study, way, runs, baseline, metric, partial(difference, way))})
    return found


def lines_of(study: dict[str, Any], problem: str, results: Results, metric: Metric) -> list[dict[str, Any]]:
    """How each way's runs ended, by the study's own metric, and the numbers of this one."""
    baseline = results.get((study["baseline"], problem, RECIPE), [])
    found = []
    for way in (row["label"] for row in study["rows"]):
        runs = results.get((way, problem, RECIPE), [])
        line = _line(study, way, runs, baseline, metric, partial(_difference, runs, baseline))
        found.append({"problem": problem, **line})
    return found


def _line(
    study: dict[str, Any],
    way: str,
    runs: list[Record],
    baseline: list[Record],
    metric: Metric,
    difference: Callable[[Metric], Difference],
) -> dict[str, Any]:
    ended = Counter(METRICS[study["metric"]].verdict(run, baseline) for run in runs)

    def numbers(of: Metric) -> dict[str, float | None]:
        values = _tables.numbers(runs, of)
        apart = difference(of) if way != study["baseline"] else None
        return {
            "mean": statistics.mean(values) if values else None,
            "std": statistics.stdev(values) if len(values) > 1 else None,
            "n": len(values),
            **dict(zip(DIFFERENCE, apart or (None, None, None), strict=True)),
        }

    return {
        "way": way,
        **{word: ended[word] for word in ENDS},
        **numbers(metric),
        **{column.key: _mean([column.of(run) for run in runs]) for column in INSTRUMENTS},
        **{f"{key}_{name}": value for key in UNSEEN for name, value in numbers(METRICS[key]).items()},
        "values": _tables.numbers(runs, metric),
    }


def _difference(runs: list[Record], baseline: list[Record], metric: Metric) -> Difference:
    """Runs minus baseline, and its interval; validation images are not kept one by one, so there is none for them."""
    paired = _tables.compared(baseline, runs, metric)
    if paired is not None:
        return paired
    ours, theirs = (_tables.numbers(of, metric) for of in (runs, baseline))
    return _tables.Compared(statistics.mean(ours) - statistics.mean(theirs), None, None) if ours and theirs else None


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return statistics.mean(there) if there else None
