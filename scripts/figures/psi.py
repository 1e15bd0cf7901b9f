"""psi(theta) by m: what the target's logit is multiplied with, in the place of the cosine."""

import math

from matplotlib.figure import Figure

from scripts.figures import Material, style


def draw(material: Material) -> Figure:
    import torch

    import lsoftmax

    figure, [[axes]] = style.panels(1, 1, style.COLUMN, 2.9)
    theta = torch.linspace(0, math.pi, 721, dtype=torch.float64)
    for m in material.plan["margins"]:
        label = "softmax, $\\psi = \\cos\\theta$" if m == 1 else f"L-Softmax, $m = {m}$"
        psi = lsoftmax.psi(theta, m)
        axes.plot(theta, psi, color=style.MARGIN_COLORS[m], linestyle=style.MARGIN_DASHES[m], label=label)
        boundaries = torch.arange(1, m, dtype=torch.float64) * math.pi / m
        axes.plot(boundaries, lsoftmax.psi(boundaries, m), "o", color=style.MARGIN_COLORS[m], markersize=2.5)
    axes.set(xlim=(0, math.pi), xlabel=r"angle $\theta$ to the target's weights (rad)", ylabel=r"$\psi(\theta)$")
    quarters = ["0", r"$\pi/4$", r"$\pi/2$", r"$3\pi/4$", r"$\pi$"]
    axes.set_xticks([quarter * math.pi / 4 for quarter in range(5)], quarters)
    axes.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    axes.legend(loc="lower left")
    return figure
