"""Figure 6: error against iteration by the margin m."""

from matplotlib.figure import Figure

from scripts.figures import Material, style
from scripts.figures.curves import draw_errors


def draw(material: Material) -> Figure:
    return draw_errors(
        material,
        lambda index, label: style.look(label),
        lambda row, runs: style.short(row["label"]),
    )
