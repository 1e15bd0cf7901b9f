"""A study's table as Markdown and CSV, from the numbers of its runs."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from scripts import _tables
from scripts._metric import METRICS, Metric
from scripts._study_numbers import (
    COSINES,
    DIFFERENCE,
    ENDS,
    INSTRUMENTS,
    NUMBERS,
    UNSEEN,
    all_parts,
    by_part,
    filled,
    have_own_images,
    lines_of,
    over_setting,
)
from scripts._tables import Results

Table = tuple[list[str], list[list[str]]]  # what stands above the cells, and a line of them per way


def markdown(study: dict[str, Any], results: Results, command: str, others: int = 0) -> str:
    """The whole study: for each problem a line per way. others: records on other data, which do not count."""
    lines = [f"# {study['title']}", "", f"`{command}`", "", study["text"].strip(), ""]
    for problem, tables in problems(study, results):
        lines += [f"## {problem}", ""]
        for metric in over_setting(study, results):
            lines += [*_over(study, problem, results, metric), ""]
        for heads, rows in tables:
            lines += [_cells(heads), "|---|---|" + "---:|" * (len(heads) - 2), *map(_cells, rows), ""]
    if any(results.values()):
        lines += [meaning(study, results), ""]
    return "\n".join([*lines, origin(results, others)]) + "\n"


def origin(results: Results, others: int = 0) -> str:
    """How many runs there are, how they were made, and how many are left out."""
    runs = [run for found in results.values() for run in found]
    without = f" Left out: {others} records of runs on other data." if others else ""
    if not runs:
        return f"No run of this study has been made yet.{without}"
    return f"{len({run['config_sha256'] for run in runs})} runs. {_tables.made_with(runs)}.{without}"


def meaning(study: dict[str, Any], results: Results) -> str:
    """What the columns say."""
    metric = METRICS[study["metric"]]
    drawn = "parts" if "parts" in study else "seeds"
    own_images = "parts" in study and have_own_images(study)
    over = f"{drawn}, each with {metric.tests} of its own," if own_images else f"{drawn} and {metric.tests}"
    interval = f", with a 95 % interval over {over} where both have two runs" if metric.paired else " (of means)"
    there = filled(results)
    cosines = (
        "`same class`, `other classes`: mean cosine of the features of two images of the same class, and of different "
        "ones, over all pairs of held-out images (`train`: of training images). "
    )
    unseen = {
        "unseen": f"`unseen, recall at 1`: {METRICS['unseen'].meaning} (`python scripts/unseen.py -h`); its difference "
        f"is paired too, over {drawn if own_images else f'{drawn} and classes'}, where they were kept. ",
        "unseen_tar": f"`TAR at FAR 0.001`: {METRICS['unseen_tar'].meaning}, its interval over {drawn} alone. ",
        "unseen_eer": f"`EER`: {METRICS['unseen_eer'].meaning}, the same. ",
    }
    every = [run for runs in results.values() for run in runs]
    measured = "".join(unseen[key] for key in UNSEEN if _tables.numbers(every, METRICS[key]))
    common = "on the parts that both have, " if "parts" in study else ""
    return (
        f"{metric.meaning}, mean ± standard deviation (runs). `difference` is to "
        f"{study['baseline']} {common}on the same {metric.tests}{interval}. The other columns are means over the "
        "runs whose records have them: train error in percent, the median target angle in degrees, mean norms of "
        "features and class weights, and lambda, these four of the last step's batch. "
        f"{cosines if COSINES[0] in there else ''}{measured}{metric.collapsed}"
    )


def problems(study: dict[str, Any], results: Results) -> Iterator[tuple[str, list[Table]]]:
    """Each problem of the study and its tables: of the runs, and of what classes never seen say.

    Those that differ in nothing but the training images or the classes (`parts`) are one, with a table of each one's
    number.
    """
    metric = METRICS[study["metric"]]
    if "parts" in study:
        tables = [_of_parts(study, results), *_of_lines(all_parts(study, results, metric), metric, results)]
        yield f"{len(study['columns'])} parts of {study['problem']}", tables
        return
    for column in study["columns"]:
        yield column["label"], list(_of_lines(lines_of(study, column["label"], results, metric), metric, results))


def _of_lines(lines: list[dict[str, Any]], metric: Metric, results: Results) -> Iterator[Table]:
    there = filled(results)
    found = [
        [
            *(line["way"], _ended(line), *_compared(line)),
            *("" if line[column.key] is None else f"{line[column.key]:{column.form}}" for column in there),
        ]
        for line in lines
    ]
    yield ["way", "runs", metric.head, "difference", *(column.head for column in there)], found
    measured = [key for key in UNSEEN if any(line[f"{key}_n"] for line in lines)]
    found = [
        [line["way"], str(line["unseen_n"]), *(cell for key in measured for cell in _compared(line, f"{key}_"))]
        for line in lines
        if line["unseen_n"]
    ]
    if found:
        yield ["way", "runs", *(head for key in measured for head in (METRICS[key].head, "difference"))], found


def _of_parts(study: dict[str, Any], results: Results) -> Table:
    labels = [column["label"] for column in study["columns"]]
    rows = [
        [way, str(len(found)), *(f"{found[label]:.2f}" if label in found else "" for label in labels)]
        for way, found in by_part(study, results).items()
    ]
    return [METRICS[study["metric"]].head, "parts", *labels], rows


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
    by_way = {line["way"]: line for line in lines_of(study, problem, results, metric)}
    values = list(dict.fromkeys(row["at"] for row in study["rows"]))
    title = f"{metric.head} over {study['over']}"
    written = [_cells([title, *map(str, sorted(values))]), "|---|" + "---:|" * len(values)]
    for way in dict.fromkeys(row["line"] for row in study["rows"]):
        there = {row["at"]: by_way[row["label"]] for row in study["rows"] if row["line"] == way}
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
        writer.writerows(lines_of(study, column["label"], results, metric))
    if "parts" in study:
        writer.writerows(all_parts(study, results, metric))
    return out.getvalue()
