"""Error against iteration, training left and test right: what figures 6 and 7 share."""

from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.figures import Material, style

Record = dict[str, Any]


def draw_errors(material: Material, look: Callable[[int, str], dict[str, Any]], named: Callable[..., str]) -> Figure:
    """look(index, label of the row) -> colour and dashes; named(row, runs) -> its name in the legend.

    The line is the mean of the runs of a row, the band reaches from the lowest to the highest of them.
    """
    rows, [column] = material.plan["rows"], material.plan["columns"]
    figure, [[left, right]] = style.panels(1, 2, style.PAGE, 2.9)
    for index, row in enumerate(rows):
        runs = material.runs.get((row["label"], column["label"]), [])
        for axes, entry in ((left, 1), (right, 2)):
            _plot(axes, runs, entry, named(row, runs), look(index, row["label"]))
    left.set_title(f"{column['label']}, training")
    right.set_title(f"{column['label']}, test")
    for axes in (left, right):
        axes.set(xlabel="iteration", ylabel="classification error (%)", ylim=(0, None), xlim=(0, None))
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        for step in _milestones(material):
            axes.axvline(step, color="0.75", linestyle=":", linewidth=0.8, zorder=0)
    right.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none")
    return figure


def _plot(axes: Axes, runs: list[Record], entry: int, label: str, look: dict[str, Any]) -> None:
    ended = [run for run in runs if run["status"] == "finished"]  # a diverged one would cut the others short
    curves = [[(point[0], point[entry]) for point in run["curve"] if point[entry] is not None] for run in ended]
    curves = [curve for curve in curves if curve]
    if not curves:
        axes.plot([], [], label=f"{label}: {'no number' if runs else 'not run'}", **look)
        return
    if len(ended) < len(runs):
        label += f", {len(runs) - len(ended)} of {len(runs)} diverged"
    # Runs evaluated at other steps share those that they have in common.
    errors = [dict(curve) for curve in curves]
    steps = sorted(set.intersection(*(set(error) for error in errors)))
    values = [[error[step] for error in errors] for step in steps]
    axes.plot(steps, [sum(there) / len(there) for there in values], label=label, **look)
    if len(curves) > 1:
        low, high = [min(there) for there in values], [max(there) for there in values]
        axes.fill_between(steps, low, high, color=look["color"], alpha=0.15, linewidth=0)


def _milestones(material: Material) -> list[int]:
    """Where the learning rate drops, if it does so at the same steps in all runs."""
    found = {tuple(run["schedule"]["lr"]["milestones"]) for runs in material.runs.values() for run in runs}
    return list(found.pop()) if len(found) == 1 else []
