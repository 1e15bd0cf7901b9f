"""The figures of a study: what became of its ways step by step, and error over a setting such as the weight decay."""

from collections.abc import Iterator, Sequence
from math import nan
from statistics import mean, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from scripts._metric import METRICS
from scripts.figures import style

Record = dict[str, Any]

# Told apart by the colour-blind too; who draws more lines adds one.
COLORS = ("0.25", "#d55e00", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#7f3b08", "#b2abd2")

WIDE = 4  # the largest error over the smallest


def draw(study: dict[str, Any], results: dict[tuple[str, str, str], list[Record]]) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of what the study's file asks for, those that have runs; one for each problem."""
    for problem in [column["label"] for column in study["columns"]]:
        runs = {row["label"]: results.get((row["label"], problem, "best"), []) for row in study["rows"]}
        # A record of the small tables may be older than the trace.
        traced = {way: next((run for run in there if run.get("trace")), None) for way, there in runs.items()}
        if ways := {way: run for way in study.get("traces", []) if (run := traced[way])}:
            yield f"traces_{problem}", draw_traces(ways, study["metric"])
        if "over" in study and any(runs.values()):
            lines: dict[str, dict[float, list[float]]] = {}
            for row in study["rows"]:
                errors = [run[study["metric"]] for run in runs[row["label"]] if run[study["metric"]] is not None]
                lines.setdefault(row["line"], {})[row["at"]] = errors
            yield f"over_{problem}", draw_over(lines, study["over"], METRICS[study["metric"]].head)


def draw_traces(ways: dict[str, Record], metric: str) -> Figure:
    """One run of each way over its steps: errors, lambda, target angle, norms; the records' `trace`."""
    figure, axes = style.panels(2, 2, style.PAGE, 4.6, sharex=True)
    (error, lam), (angle, norm) = axes
    for color, (way, run) in zip(COLORS[: len(ways)], ways.items(), strict=True):
        curve, trace = run["curve"], run["trace"]
        steps = [line["step"] for line in trace]
        error.plot(steps, [line[metric] for line in trace], color=color, label=way)
        error.plot(
            [point[0] for point in curve], [point[1] for point in curve], color=color, dashes=(1, 1), linewidth=0.9
        )
        _plot(lam, steps, [line.get("lam") for line in trace], color)
        _plot(angle, steps, [line.get("target_angle_q50") for line in trace], color)
        _plot(norm, steps, [line.get("feature_norm") for line in trace], color)
        _plot(norm, steps, [line.get("weight_norm") for line in trace], color, dashes=(3, 1.5))
    error.set(
        ylabel="classification error (%)", title=f"{METRICS[metric].head}, and training error (dotted)", ylim=(0, None)
    )
    lam.set_yscale("symlog", linthresh=1e-2)  # lambda may end at 0
    lam.set(ylabel="lambda", title="lambda", ylim=(0, None))
    angle.set(ylabel="degrees", title="median target angle of the batch", ylim=(0, 95), xlabel="iteration")
    norm.set(yscale="log", ylabel="norm", title="mean norms: features, class weights (dashed)", xlabel="iteration")
    for panel in axes.flat:
        panel.grid(axis="y")
        panel.set_axisbelow(True)
    figure.legend(*error.get_legend_handles_labels(), loc="outside upper center", ncols=3)  # for all panels
    return figure


def _plot(axes: Axes, steps: Sequence[int], values: Sequence[float | None], color: str, **look: Any) -> None:
    there = [(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
    axes.plot([step for step, _ in there], [value for _, value in there], color=color, **look)


def draw_over(lines: dict[str, dict[float, list[float]]], setting: str, error: str) -> Figure:
    """{line: {value of the setting: errors in percent}}: means, standard deviations, the single runs as dots."""
    figure, [[axes]] = style.panels(1, 1, 1.4 * style.COLUMN, 3.0)
    for color, (label, points) in zip(COLORS[: len(lines)], lines.items(), strict=True):
        points = {at: errors for at, errors in sorted(points.items()) if errors}
        if not points:
            axes.plot([], [], color=color, marker="o", markersize=3, label=f"{label}: not run")
            continue
        means = [mean(errors) for errors in points.values()]
        spread = [stdev(errors) if len(errors) > 1 else nan for errors in points.values()]  # of one run: no bar
        axes.errorbar(list(points), means, spread, color=color, capsize=2, marker="o", markersize=3, label=label)
        for at, errors in points.items():
            axes.plot([at] * len(errors), errors, ".", color=color, markersize=3, alpha=0.5)
    axes.set(xscale="log", xlabel=setting, ylabel=f"{error} (%)")
    axes.minorticks_off()
    values = sorted({at for points in lines.values() for at in points})
    axes.set_xticks(values, labels=[f"{float(f'{value:.2g}'):g}" for value in values])
    errors = [error for points in lines.values() for runs in points.values() for error in runs]
    if max(errors, default=0) > WIDE * min(errors, default=0) > 0:  # a line far above all others would flatten them
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.set_yticks([tick for tick in (1, 2, 3, 5, 10, 20, 30, 50, 90) if low < tick < high])
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
