"""Figure 7: error against iteration by the number of filters, m = 4."""

from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure

from scripts.figures import Material
from scripts.figures.curves import draw_errors


def draw(material: Material) -> Figure:
    rows = material.plan["rows"]
    return draw_errors(
        material, lambda index, label: {"color": colormaps["viridis_r"](0.15 + 0.85 * index / len(rows))}, _named
    )


def _named(row: dict[str, Any], runs: list[dict[str, Any]]) -> str:
    """Filters of Conv0.x to Conv3.x, with what a profile scales them by, and the parameters."""
    if not runs:
        return str(row["label"])
    width = runs[0]["model"]["width"]
    scaled = "" if width == 1 else f" × {width:g}"
    return f"{row['label']}{scaled} ({runs[0]['parameters'] / 1e6:.2g} M)"
