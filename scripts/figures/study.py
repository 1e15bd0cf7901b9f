"""The figures of a study: what became of its ways step by step, and error over a setting such as the weight decay."""

import math
from collections.abc import Iterator, Sequence
from math import inf, nan
from statistics import mean, median, stdev
from typing import Any

from matplotlib.figure import Figure

from scripts._metric import METRICS
from scripts._study_numbers import by_part, have_own_images, over_setting
from scripts._tables import numbers
from scripts.figures import style

Record = dict[str, Any]

# Told apart by the colour-blind too; who draws more lines adds one.
COLORS = ("0.25", "#d55e00", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#7f3b08", "#b2abd2")

FAR = 1.5  # times the median of all means: worse errors are beyond the axis
FEW = 5  # looks at a run: then they are marked
DODGE = 1.02  # from one line to the next, lest bars at the same value of the setting hide each other


def draw(study: dict[str, Any], results: dict[tuple[str, str, str], list[Record]]) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of what the study's file asks for, those that have runs; one for each problem."""
    if "parts" in study:
        found = by_part(study, results)
        if any(found.values()):
            of = "first class of the part" if have_own_images(study) else "part of the training images"
            yield "by_part", draw_parts(found, study["baseline"], METRICS[study["metric"]].head, of)
        every = {way: [run for place, runs in results.items() if place[0] == way for run in runs] for way in found}
        if ways := _traced(study, every):
            yield f"traces_{study['problem']}", draw_traces(ways, study["metric"])
        return
    for problem in [column["label"] for column in study["columns"]]:
        runs = {row["label"]: results.get((row["label"], problem, "best"), []) for row in study["rows"]}
        if ways := _traced(study, runs):
            yield f"traces_{problem}", draw_traces(ways, study["metric"])
        for metric in over_setting(study, results) if any(runs.values()) else ():
            lines: dict[str, dict[float, list[float]]] = {}
            for row in study["rows"]:
                lines.setdefault(row["line"], {})[row["at"]] = numbers(runs[row["label"]], metric)
            if not any(values for points in lines.values() for values in points.values()):
                continue  # of another problem alone
            of = "" if metric is METRICS[study["metric"]] else "unseen_"
            yield f"over_{of}{problem}", draw_over(lines, study["over"], metric.axis or metric.head, metric.better)


def _traced(study: dict[str, Any], runs: dict[str, list[Record]]) -> dict[str, list[Record]]:
    """The ways to be traced, with their runs. A record of the small tables may be older than the trace."""
    there = {way: [run for run in runs[way] if run.get("trace")] for way in study.get("traces", [])}
    return {way: found for way, found in there.items() if found}


def draw_parts(ways: dict[str, dict[str, float]], baseline: str, number: str, of: str) -> Figure:
    """{way: {part: percent}}: a dot each, the parts in the order of the baseline's numbers."""
    figure, [[axes]] = style.panels(1, 1, 1.4 * style.COLUMN, 2.6)
    there = {part: None for points in ways.values() for part in points}
    parts = sorted(there, key=lambda part: ways[baseline].get(part, inf))
    for place, part in enumerate(parts):
        found = [points[part] for points in ways.values() if part in points]
        axes.plot([place, place], [min(found), max(found)], color="0.85", zorder=0)
    for color, (way, points) in zip(COLORS[: len(ways)], ways.items(), strict=True):
        places = [place for place, part in enumerate(parts) if part in points]
        label = way if places else f"{way}: no number"
        axes.plot(places, [points[parts[place]] for place in places], "o", color=color, markersize=4, label=label)
    axes.set_xticks(range(len(parts)), labels=parts)
    axes.set(xlabel=of, ylabel=f"{number} (%)")
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def draw_traces(ways: dict[str, list[Record]], metric: str) -> Figure:
    """Each way over its steps, the mean of its runs: errors, lambda, target angle, norms; the records' `trace`."""
    figure, axes = style.panels(2, 2, style.PAGE, 4.6, sharex=True)
    (error, lam), (angle, norm) = axes
    for color, (way, runs) in zip(COLORS[: len(ways)], ways.items(), strict=True):
        runs = [run for run in runs if run["status"] == "finished"] or runs  # a diverged one would cut the others short
        traces = [run["trace"] for run in runs]
        training = [[{"step": step, "error": train} for step, train, _ in run["curve"]] for run in runs]
        dots = "." if len(traces[0]) <= FEW else None
        error.plot(
            *_mean(traces, metric),
            color=color,
            marker=dots,
            label=way if len(runs) == 1 else f"{way}, mean of {len(runs)}",
        )
        error.plot(*_mean(training, "error"), color=color, dashes=(1, 1), linewidth=0.9)
        lam.plot(*_mean(traces, "lam"), color=color, marker=dots)
        angle.plot(*_mean(traces, "target_angle_q50"), color=color, marker=dots)
        norm.plot(*_mean(traces, "feature_norm"), color=color, marker=dots)
        norm.plot(*_mean(traces, "weight_norm"), color=color, marker=dots, dashes=(3, 1.5))
    error.set(
        ylabel="classification error (%)", title=f"{METRICS[metric].head}, and training error (dotted)", ylim=(0, None)
    )
    lam.set_yscale("symlog", linthresh=1e-2)  # lambda may end at 0
    lam.set(ylabel="lambda", title="lambda", ylim=(0, None))
    highest = max(95, 1.02 * angle.dataLim.ymax if math.isfinite(angle.dataLim.ymax) else 0)
    angle.set(ylabel="degrees", title="median target angle of the batch", ylim=(0, highest), xlabel="iteration")
    norm.set(yscale="log", ylabel="norm", title="mean norms: features, class weights (dashed)", xlabel="iteration")
    for panel in axes.flat:
        panel.grid(axis="y")
        panel.set_axisbelow(True)
    figure.legend(*error.get_legend_handles_labels(), loc="outside upper center", ncols=3)  # for all panels
    return figure


def _mean(traces: Sequence[Sequence[Record]], key: str) -> tuple[list[int], list[float]]:
    """Steps and the runs' means, of the steps at which every run has a number."""
    values: dict[int, list[float]] = {}
    for line in (line for trace in traces for line in trace):
        if line.get(key) is not None:
            values.setdefault(line["step"], []).append(line[key])
    means = {step: mean(found) for step, found in sorted(values.items()) if len(found) == len(traces)}
    return list(means), list(means.values())


def draw_over(lines: dict[str, dict[float, list[float]]], setting: str, number: str, better: str = "lower") -> Figure:
    """{line: {value of the setting: numbers in percent}}: means, standard deviations, the single runs as dots.

    Where some errors are far worse than most, the axis ends below them; a triangle at its upper edge tells their mean.
    """
    figure, [[axes]] = style.panels(1, 1, 1.4 * style.COLUMN, 3.0)
    means = {label: {at: mean(runs) for at, runs in sorted(points.items()) if runs} for label, points in lines.items()}
    everything = [value for points in means.values() for value in points.values()]
    top = FAR * median(everything or [0]) if better == "lower" else max(everything, default=1)
    lasting = [runs for points in lines.values() for runs in points.values() if runs and mean(runs) <= top]
    edge = 1.02 * max((mean(runs) + _spread(runs) for runs in lasting), default=1)
    for line, (color, (label, points)) in enumerate(zip(COLORS[: len(lines)], means.items(), strict=True)):
        if not points:
            axes.plot([], [], color=color, marker="o", markersize=3, label=f"{label}: not run")
            continue
        runs = [lines[label][at] for at in points]
        spread = [stdev(errors) if len(errors) > 1 else nan for errors in runs]  # of one run: no bar
        inside = [value if value <= top else nan for value in points.values()]
        beside = [at * DODGE ** (line - (len(lines) - 1) / 2) for at in points]
        axes.errorbar(beside, inside, spread, color=color, capsize=2, marker="o", markersize=3, label=label)
        for at, errors in zip(beside, runs, strict=True):
            axes.plot([at] * len(errors), errors, ".", color=color, markersize=3, alpha=0.5)
    beyond: dict[float, list[tuple[str, float]]] = {}  # setting: (colour, mean)
    for color, points in zip(COLORS[: len(lines)], means.values(), strict=True):
        for at, value in points.items():
            if value > top:
                beyond.setdefault(at, []).append((color, value))
    for at, there in beyond.items():
        axes.plot([at], [edge], "^", color=there[0][0], markersize=4, clip_on=False)
        for row, (color, value) in enumerate(there):
            place = (-4, -7 - 7 * row)  # points, left of the triangle: at the right is the frame
            axes.annotate(
                f"{value:.1f}", (at, edge), place, textcoords="offset points", color=color, fontsize=6, ha="right"
            )
    if beyond:
        axes.set_ylim(0.98 * min(mean(runs) - _spread(runs) for runs in lasting), edge)
    axes.set(xscale="log", xlabel=setting, ylabel=f"{number} (%)")
    axes.margins(x=0.08)
    axes.minorticks_off()
    values = sorted({at for points in lines.values() for at in points})
    axes.set_xticks(values, labels=[f"{float(f'{value:.3g}'):g}" for value in values])
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _spread(runs: Sequence[float]) -> float:
    return stdev(runs) if len(runs) > 1 else 0.0
