"""How all figures look, and how they are written: the same bytes for the same records."""

import io
import textwrap
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

COLUMN, PAGE = 3.5, 7.2  # widths in inches: of a column and of a page of text
DPI = 200
MARGIN_COLORS = {1: "0.25", 2: "#0072b2", 3: "#e69f00", 4: "#d55e00"}  # by m; told apart by the colour-blind too
MARGIN_DASHES = {1: "-", 2: "--", 3: "-.", 4: "-"}

_PARAMETERS = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "axes.grid": False,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "mathtext.fontset": "dejavusans",
    "svg.hashsalt": "lsoftmax",  # names in the file that do not change from time to time
    "figure.facecolor": "white",
    "figure.dpi": DPI,
}


def applied() -> AbstractContextManager[None]:
    matplotlib.use("Agg")
    return matplotlib.rc_context(_PARAMETERS)  # type: ignore[arg-type]


def panels(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure of so many inches and its axes, (rows, columns)."""
    return pyplot.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained", **options)


def margin(label: str) -> int:
    """m of a row's label: "L-Softmax (m=4)" -> 4; 1 of any other."""
    return int(label.partition("m=")[2][:1] or 1)


def look(label: str) -> dict[str, Any]:
    """Colour and dashes of a row by its margin."""
    return {"color": MARGIN_COLORS[margin(label)], "linestyle": MARGIN_DASHES[margin(label)]}


def short(label: str) -> str:
    """A row's label, set as mathematics: "L-Softmax (m=4)" -> "L-Softmax, m = 4"."""
    name, found, m = label.rstrip(")").partition(" (m=")
    return f"{name}, $m = {m}$" if found else name


def nothing(axes: Axes) -> None:
    """A place that is empty, and says so."""
    axes.text(0.5, 0.5, "not run", ha="center", va="center", color="0.5", transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])


def written(figure: Figure, caption: str) -> dict[str, bytes]:
    """{"png": bytes, "svg": bytes}, with the caption beneath; the figure is closed."""
    width = int(figure.get_figwidth() * 25)  # characters of 5.5 points
    text = "\n".join(textwrap.wrap(caption, width))
    figure.draw_without_rendering()  # settles the layout, which stays as it is from here on
    figure.set_layout_engine("none")
    for legend in figure.findobj(Legend):
        legend.set_in_layout(True)
    bottom = (figure.get_tightbbox().y0 - 0.08) / figure.get_figheight()
    figure.text(0.01, bottom, text, fontsize=5.5, color="0.35", va="top", linespacing=1.3, in_layout=True)
    files = {}
    with applied():
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Description": caption})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=DPI, bbox_inches="tight", pad_inches=0.05, metadata=metadata)
            files[kind] = buffer.getvalue()
    pyplot.close(figure)
    return files
