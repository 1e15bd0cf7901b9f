"""Records -> a study's table as Markdown and CSV: how each way ended, its errors, what became of angles and norms."""

import csv
import io
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
Table = tuple[list[str], list[list[str]]]  # what stands above the cells, and a line of them per way
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


def markdown(study: dict[str, Any], results: Results, command: str) -> str:
    """The whole study: for each problem a line per way."""
    lines = [f"# {study['title']}", "", f"`{command}`", "", study["text"].strip(), ""]
    for problem, tables in problems(study, results):
        lines += [f"## {problem}", ""]
        for metric in over_setting(study, results):
            lines += [*_over(study, problem, results, metric), ""]
        for heads, rows in tables:
            lines += [_cells(heads), "|---|---|" + "---:|" * (len(heads) - 2), *map(_cells, rows), ""]
    if any(results.values()):
        lines += [meaning(study, results), ""]
    return "\n".join([*lines, origin(results)]) + "\n"


def origin(results: Results) -> str:
    """How many runs there are, and how they were made."""
    runs = [run for found in results.values() for run in found]
    if not runs:
        return "No run of this study has been made yet."
    return f"{len({run['config_sha256'] for run in runs})} runs. {_tables.made_with(runs)}."


def over_setting(study: dict[str, Any], results: Results) -> Iterator[Metric]:
    """What a study over a setting has a table and a figure of: its own metric, and what unseen.py has measured."""
    for metric in (METRICS[study["metric"]], METRICS["unseen"]) if "over" in study else ():
        if metric is METRICS[study["metric"]] or any(_tables.numbers(runs, metric) for runs in results.values()):
            yield metric


def _filled(results: Results) -> list[Column]:
    """The columns that some run has a number for."""
    runs = [run for found in results.values() for run in found]
    return [column for column in INSTRUMENTS if any(column.of(run) is not None for run in runs)]


def meaning(study: dict[str, Any], results: Results) -> str:
    """What the columns say."""
    metric = METRICS[study["metric"]]
    drawn = "parts" if "parts" in study else "seeds"
    interval = (
        f", with a 95 % interval over {drawn} and {metric.tests} where both have two runs"
        if metric.paired
        else " (of means)"
    )
    filled = _filled(results)
    cosines = (
        "`same class`, `other classes`: mean cosine of the features of two images of the same class, and of different "
        "ones, over all pairs of held-out images (`train`: of training images). "
    )
    unseen = {
        "unseen": f"`unseen, recall at 1`: {METRICS['unseen'].meaning} (`python scripts/unseen.py -h`); its difference "
        f"is paired too, over {drawn} and classes, where they were kept. ",
        "unseen_tar": f"`TAR at FAR 0.001`: {METRICS['unseen_tar'].meaning}, its interval over {drawn} alone. ",
        "unseen_eer": f"`EER`: {METRICS['unseen_eer'].meaning}, the same. ",
    }
    every = [run for runs in results.values() for run in runs]
    measured = "".join(unseen[key] for key in UNSEEN if _tables.numbers(every, METRICS[key]))
    common = "on the parts that both have, " if "parts" in study else ""
    return (
        f"{metric.meaning}, mean ± standard deviation (runs). `difference` is to "
        f"{study['baseline']} {common}on the same {metric.tests}{interval}. The other columns are means over the "
        "runs: train error in percent, the median target angle in degrees, mean norms of features and class weights, "
        f"and lambda, these four of the last step's batch. {cosines if COSINES[0] in filled else ''}"
        f"{measured}{metric.collapsed}"
    )


def problems(study: dict[str, Any], results: Results) -> Iterator[tuple[str, list[Table]]]:
    """Each problem of the study and its tables: of the runs, and of what classes never seen say.

    Those that differ in nothing but the training images (`parts`) are one, with a table of each one's number.
    """
    metric = METRICS[study["metric"]]
    if "parts" in study:
        tables = [_of_parts(study, results), *_of_lines(_all_parts(study, results, metric), metric, results)]
        yield f"{study['parts']} parts of {study['problem']}", tables
        return
    for column in study["columns"]:
        yield column["label"], list(_of_lines(_lines(study, column["label"], results, metric), metric, results))


def _of_lines(lines: list[dict[str, Any]], metric: Metric, results: Results) -> Iterator[Table]:
    filled = _filled(results)
    found = [
        [
            *(line["way"], _ended(line), *_compared(line)),
            *("" if line[column.key] is None else f"{line[column.key]:{column.form}}" for column in filled),
        ]
        for line in lines
    ]
    yield ["way", "runs", metric.head, "difference", *(column.head for column in filled)], found
    measured = [key for key in UNSEEN if any(line[f"{key}_n"] for line in lines)]
    found = [
        [line["way"], str(line["unseen_n"]), *(cell for key in measured for cell in _compared(line, f"{key}_"))]
        for line in lines
        if line["unseen_n"]
    ]
    if found:
        yield ["way", "runs", *(head for key in measured for head in (METRICS[key].head, "difference"))], found


def by_part(study: dict[str, Any], results: Results) -> dict[str, dict[str, float]]:
    """{way: {part of the training images: the mean of its runs}}, of those that have a number."""
    labels, metric = [column["label"] for column in study["columns"]], METRICS[study["metric"]]
    found = {}
    for way in (row["label"] for row in study["rows"]):
        values = {label: _tables.numbers(results.get((way, label, RECIPE), []), metric) for label in labels}
        found[way] = {label: statistics.mean(of) for label, of in values.items() if of}
    return found


def _of_parts(study: dict[str, Any], results: Results) -> Table:
    labels = [column["label"] for column in study["columns"]]
    rows = [
        [way, str(len(found)), *(f"{found[label]:.2f}" if label in found else "" for label in labels)]
        for way, found in by_part(study, results).items()
    ]
    return [METRICS[study["metric"]].head, "parts", *labels], rows


def _all_parts(study: dict[str, Any], results: Results, metric: Metric) -> list[dict[str, Any]]:
    """A line per way: its runs on all parts, and the difference on those that the baseline has too."""

    def runs_of(way: str) -> dict[str, list[Record]]:
        return {column["label"]: results.get((way, column["label"], RECIPE), []) for column in study["columns"]}

    def difference(way: str, metric: Metric) -> Difference:
        ours, theirs = runs_of(way), runs_of(study["baseline"])
        if (paired := _tables.compared_by_part(theirs, ours, metric)) is not None:
            return paired
        both = [[_tables.numbers(of[part], metric) for of in (ours, theirs)] for part in ours]
        apart = [statistics.mean(pair[0]) - statistics.mean(pair[1]) for pair in both if all(pair)]
        return _tables.Compared(statistics.mean(apart), None, None) if apart else None

    found = []
    for way in (row["label"] for row in study["rows"]):
        runs, baseline = ([run for there in runs_of(of).values() for run in there] for of in (way, study["baseline"]))
        found.append({"problem": "all parts", **_line(study, way, runs, baseline, metric, partial(difference, way))})
    return found


def _compared(line: dict[str, Any], of: str = "") -> tuple[str, str]:
    """The mean and the difference."""
    mean = _mean_and_spread(line, of)
    return f"{mean} ({line[f'{of}n']})" if mean else "", _signed(line, of)


def _signed(line: dict[str, Any], of: str = "") -> str:
    """The difference, and its interval where there is one; empty without."""
    difference, low, high = (line[f"{of}{key}"] for key in DIFFERENCE)
    return "" if difference is None else _tables.said_of(_tables.Compared(difference, low, high))


def _over(study: dict[str, Any], problem: str, results: Results, metric: Metric) -> list[str]:
    """The numbers alone, a line per way and a column per value of the setting; the best mean of a way is bold."""
    lines = {line["way"]: line for line in _lines(study, problem, results, metric)}
    values = list(dict.fromkeys(row["at"] for row in study["rows"]))
    title = f"{metric.head} over {study['over']}"
    written = [_cells([title, *map(str, sorted(values))]), "|---|" + "---:|" * len(values)]
    for way in dict.fromkeys(row["line"] for row in study["rows"]):
        there = {row["at"]: lines[row["label"]] for row in study["rows"] if row["line"] == way}
        means = [line["mean"] for line in there.values() if line["mean"] is not None]
        best = (min if metric.better == "lower" else max)(means, default=None)
        written.append(_cells([way, *(_number(there.get(at), best) for at in sorted(values))]))
    return written


def _number(line: dict[str, Any] | None, best: float | None) -> str:
    if line is None:
        return ""
    if not any(line[word] for word in ENDS):
        return "not run"
    mean = _mean_and_spread(line)
    lost = [f"{line[word]} {word}" for word in ENDS[1:] if line[word]]
    return ", ".join([f"**{mean}**" if mean and line["mean"] == best else mean, *lost]).removeprefix(", ")


def _mean_and_spread(line: dict[str, Any], of: str = "") -> str:
    """Empty without a number."""
    mean, std = line[f"{of}mean"], line[f"{of}std"]
    spread = f" ± {std:.2f}" if std is not None else ""
    return "" if mean is None else f"{mean:.2f}{spread}"


def _cells(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _ended(line: dict[str, Any]) -> str:
    words = [f"{line[word]} {word}" for word in ENDS if line[word]]
    return ", ".join(words) or "not run"


def comma_separated(study: dict[str, Any], results: Results) -> str:
    """A line per problem and way, and per way for all parts."""
    out, metric = io.StringIO(), METRICS[study["metric"]]
    head = ["problem", "way", *ENDS, *NUMBERS, *(column.key for column in INSTRUMENTS)]
    head += [*(f"{key}_{number}" for key in UNSEEN for number in NUMBERS), "values"]
    writer = csv.DictWriter(out, head, lineterminator="\n")
    writer.writeheader()
    for column in study["columns"]:
        writer.writerows(_lines(study, column["label"], results, metric))
    if "parts" in study:
        writer.writerows(_all_parts(study, results, metric))
    return out.getvalue()


def _lines(study: dict[str, Any], problem: str, results: Results, metric: Metric) -> list[dict[str, Any]]:
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
