"""matplotlib without a screen, and what it draws as PNG and SVG."""

from functools import partial
from pathlib import Path
from typing import Any

from configs.errors import ConfigError


def pyplot() -> Any:
    """matplotlib.pyplot; ConfigError where there is none."""
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError("nothing was drawn: matplotlib is missing (pip install matplotlib)") from error
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "lsoftmax"  # equal numbers give equal files
    from matplotlib import pyplot

    return pyplot


def files_of(stem: Path) -> list[Path]:
    """Where `save` writes: the PNG, the SVG."""
    return [stem.with_name(stem.name + suffix) for suffix in (".png", ".svg")]


def save(figure: Any, stem: Path) -> None:
    """Both files, and the figure is closed. UserError if they cannot be written."""
    from lsoftmax.files import make_folder, write_atomically

    make_folder(stem.parent)
    try:
        for file in files_of(stem):
            kind = file.suffix[1:]
            metadata = {"Date": None} if kind == "svg" else {}
            write_atomically(file, partial(figure.savefig, format=kind, dpi=150, metadata=metadata))
    finally:
        pyplot().close(figure)
