"""Figure 4: two classes in a plane, the directions that each takes, and the margin between them.

A feature x at the angles theta_1 and theta_2 to the weights is class 1 in the test where |W1| cos theta_1 >
|W2| cos theta_2; training is content with it where |W1| psi(theta_1) > |W2| cos theta_2. |x| cancels.
"""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Wedge

from scripts.figures import Material, style

COLORS = {1: "#0072b2", 2: "#d55e00"}
_DIRECTIONS = np.linspace(0, 180, 3601)  # degrees: the half plane in which the weights lie


def draw(material: Material) -> Figure:
    plan = material.plan
    figure, [axes] = style.panels(1, len(plan["cases"]), style.PAGE, 2.0)
    for panel, case in zip(axes, plan["cases"], strict=True):
        panel.set_title(case["label"])
        _draw_case(panel, plan["m"], plan["angle_between_weights"], case["ratio"])
    legend = axes[len(axes) // 2].legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4)
    legend.set_in_layout(False)  # as wide as all panels: it would make room for itself in one
    return figure


def regions(m: int, between: float, ratio: float) -> tuple[dict[int, Any], float]:
    """Which of the directions training takes for class 1 and 2 (masks), and where the test decides (degrees).

    between: angle of the two weights, which stand symmetrically about 90 degrees, W1 on the left; ratio: |W1| / |W2|.
    """
    import torch

    import lsoftmax

    weights = _weights(between)
    theta = {k: np.radians(np.abs(_DIRECTIONS - weights[k])) for k in weights}
    length = {1: ratio, 2: 1.0}
    plain = {k: length[k] * np.cos(theta[k]) for k in weights}
    margin = {k: length[k] * lsoftmax.psi(torch.from_numpy(theta[k]), m).numpy() for k in weights}
    inside = np.abs(_DIRECTIONS - 90) <= between / 2
    # Between the weights the test's answer changes once.
    boundary = _DIRECTIONS[inside][np.argmin(np.abs(plain[1] - plain[2])[inside])]
    return {1: margin[1] > plain[2], 2: margin[2] > plain[1]}, float(boundary)


def _weights(between: float) -> dict[int, float]:
    """Their directions in degrees."""
    return {1: 90 + between / 2, 2: 90 - between / 2}


def span(mask: Any) -> tuple[float, float]:
    """First and last direction of a region, in degrees."""
    taken = _DIRECTIONS[mask]
    return float(taken[0]), float(taken[-1])


def _draw_case(axes: Axes, m: int, between: float, ratio: float) -> None:
    found, decided = regions(m, between, ratio)
    lengths = {1: min(1.0, ratio), 2: min(1.0, 1 / ratio)}
    spans = {k: span(found[k]) for k in (1, 2)}
    for k in (1, 2):
        label = f"training's region of class {k} ($m = {m}$)"
        axes.add_patch(Wedge((0, 0), 1.15, *spans[k], color=COLORS[k], alpha=0.25, linewidth=0, label=label))
        angle = math.radians(_weights(between)[k])
        tip = (lengths[k] * math.cos(angle), lengths[k] * math.sin(angle))
        axes.annotate("", tip, (0, 0), arrowprops={"arrowstyle": "-|>", "color": COLORS[k], "linewidth": 1.4})
        axes.annotate(
            f"$W_{k}$", tip, (6 if k == 2 else -6, 2), textcoords="offset points", color=COLORS[k], ha="center"
        )
    low, high = spans[2][1], spans[1][0]
    gap = Wedge((0, 0), 1.15, low, high, color="0.88", linewidth=0, label="margin")
    axes.add_patch(gap)
    boundary = math.radians(decided)
    line = ([0, 1.25 * math.cos(boundary)], [0, 1.25 * math.sin(boundary)])
    axes.plot(*line, "--", color="0.2", label="decision boundary of the test")
    axes.text(0, -0.12, f"margin {high - low:.1f}°", ha="center", va="top")
    axes.set(xlim=(-1.3, 1.3), ylim=(-0.3, 1.3), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)
