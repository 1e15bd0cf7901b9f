"""The figures: one file each, a function `draw(Material) -> matplotlib Figure`; scripts/reproduce.py figure=NAME."""

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a figure is drawn where matplotlib is; all else works without
    from matplotlib.figure import Figure

Place = tuple[str, str]  # row, column


@dataclass(frozen=True)
class Material:
    """What a figure is made of."""

    plan: dict[str, Any]  # configs/figure/NAME.yaml
    runs: dict[Place, list[dict[str, Any]]] = field(default_factory=dict)  # the records that there are, by seed
    features: dict[Place, dict[str, Any]] = field(default_factory=dict)  # those of the first seed, as _features keeps


def draw(name: str, material: Material) -> "Figure":
    """Drawn in the figures' common style. ImportError where matplotlib is missing."""
    from scripts.figures import style

    module = importlib.import_module(f"scripts.figures.{'figure' if name.isdecimal() else ''}{name}")
    with style.applied():
        figure: Figure = module.draw(material)
    return figure
