"""Learning rate and lambda over a run, one above the other."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.figures import Material, style

LEVELS = (10, 1, 0.1)  # of lambda: the margin's weight is 1 / (1 + lambda)


def draw(material: Material) -> Figure:
    from assemble import make_plan
    from configs.settings import compose

    schedules = material.plan["schedules"]
    figure, axes = style.panels(2, len(schedules), style.PAGE, 2.9, sharex="col", sharey="row")
    for (above, below), schedule in zip(axes.T, schedules, strict=True):
        plan = make_plan(compose(schedule["overrides"]))
        lam, steps = plan.lam, range(plan.steps)
        assert callable(lam), "an adaptive lambda has no curve before the run"
        draw_pair(above, below, [plan.lr(step) for step in steps], [lam(step) for step in steps])
        above.set_title(schedule["label"])
    for panel in axes[:, 1:].flat:
        panel.set_ylabel("")
    return figure


def draw_pair(above: Axes, below: Axes, rates: list[float], lambdas: list[Any]) -> None:
    """Both over the steps of one run."""
    above.plot(rates, drawstyle="steps-post", color=style.MARGIN_COLORS[1])
    above.set(yscale="log", ylabel="learning rate")
    below.plot(lambdas, color=style.MARGIN_COLORS[4])
    # Lambda may end at 0, which a logarithm cannot show: linear below a thousandth.
    below.set_yscale("symlog", linthresh=1e-3)
    below.set(ylabel=r"$\lambda$", xlabel="iteration", xlim=(0, len(rates)), ylim=(0, None))
    for level in LEVELS:
        below.axhline(level, color="0.8", linewidth=0.8, zorder=0)
    for axes in (above, below):
        axes.grid(axis="x")
