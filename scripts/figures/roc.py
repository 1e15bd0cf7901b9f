"""ROC of verification: true accept rate over false accept rate, by the loss."""

from statistics import mean

from matplotlib.figure import Figure

from scripts._metric import reported
from scripts.figures import Material, style

CONTRASTIVE = {"color": "#009e73", "linestyle": ":"}


def draw(material: Material) -> Figure:
    """The line is the mean of a row's runs, the band reaches from the lowest to the highest of them."""
    figure, [[axes]] = style.panels(1, 1, 1.4 * style.COLUMN, 3.2)
    [column] = material.plan["columns"]
    lowest = 0.1
    for row in material.plan["rows"]:
        runs = material.runs.get((row["label"], column["label"]), [])
        curves = [pairs["roc"] for run in runs if (pairs := reported(run)) is not None and "roc" in pairs]
        look = CONTRASTIVE if "Contrastive" in row["label"] else style.look(row["label"])
        if not curves:
            axes.plot([], [], label=f"{row['label']}: {'no curve' if runs else 'not run'}", **look)
            continue
        far = curves[0]["far"][1:]  # 0 has no place on this axis
        rates = list(zip(*(curve["tar"][1:] for curve in curves), strict=True))
        lowest = min(lowest, far[0])
        axes.plot(
            far, [mean(there) for there in rates], drawstyle="steps-post", label=style.short(row["label"]), **look
        )
        if len(curves) > 1:
            low, high = [min(there) for there in rates], [max(there) for there in rates]
            axes.fill_between(far, low, high, step="post", color=look["color"], alpha=0.12, linewidth=0)
    axes.set(xscale="log", xlim=(lowest, 1), ylim=(0, 1), xlabel="false accept rate", ylabel="true accept rate")
    axes.grid()
    axes.set_axisbelow(True)
    axes.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none")
    return figure
