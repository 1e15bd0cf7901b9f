"""A table's file -> the runs that fill it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from configs.errors import ConfigError
from configs.schema import Settings
from configs.settings import ROOT, compose, identity

RECIPES = ("paper", "best")  # Section 5.1 with the authors' lambda; what the bare command runs


@dataclass(frozen=True)
class Cell:
    """One run's place in a table."""

    row: str
    column: str
    recipe: str
    seed: int
    overrides: tuple[str, ...]
    settings: Settings

    @property
    def identity(self) -> dict[str, Any]:
        return identity(self.settings)


def read_table(number: str) -> dict[str, Any]:
    """configs/table/NUMBER.yaml. ConfigError if there is none."""
    path = ROOT / "configs" / "table" / f"{number}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise ConfigError(f"table={number}: there is no such table; choose one of {known}")
    return dict(yaml.safe_load(path.read_text()))


def read_profile(name: str) -> dict[str, list[str]]:
    """Overrides by data set; none for the full size."""
    if name == "full":
        return {}
    path = ROOT / "configs" / "profile" / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(["full", *sorted(file.stem for file in path.parent.glob("*.yaml"))])
        raise ConfigError(f"profile={name}: there is no such profile; choose one of {known}")
    return dict(yaml.safe_load(path.read_text()))


def cells(table: dict[str, Any], profile: dict[str, list[str]], seeds: int) -> Iterator[Cell]:
    """Every run of the table, the first seed of all rows first, so that a table fills evenly."""
    for seed in range(seeds):
        for column in table["columns"]:
            for row in table["rows"]:
                for recipe in RECIPES:
                    chosen = column["paper"] if recipe == "paper" else []
                    overrides = [
                        *column["overrides"],
                        *chosen,
                        *_of(profile, column),
                        *row["overrides"],
                        f"seed={seed}",
                    ]
                    settings = compose(overrides)
                    yield Cell(row["label"], column["label"], recipe, seed, tuple(overrides), settings)


def _of(profile: dict[str, list[str]], column: dict[str, Any]) -> list[str]:
    if not profile:
        return []
    [dataset] = [item.partition("=")[2] for item in column["overrides"] if item.startswith("dataset=")]
    if dataset not in profile:
        raise ConfigError(f"the profile says nothing of dataset={dataset}")
    return profile[dataset]
