"""A table's, a figure's or a study's file -> the runs that fill it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from configs.errors import ConfigError, cannot_read
from configs.run_directory import default_directory
from configs.schema import Settings
from configs.settings import ROOT, compose, identity

# What a file may say: what it must, what it can.
KEYS = {
    "table": ("title metric published rows columns", "note full reduced recipes"),
    "table's row": ("label overrides numbers", "paper"),
    "table's column": ("label overrides paper", "profile then"),
    "figure": ("title", "rows columns features m cases angle_between_weights margins schedules"),
    "figure's row": ("label overrides", "accuracy"),
    "figure's column": ("label overrides", "paper profile"),
    "study": ("title text metric profile seeds baseline rows columns", "over values parts traces"),
    "study's row": ("label overrides", "values from"),
    "study's column": ("label overrides", "profile then"),
}
RECIPES = ("paper", "best")  # Section 5.1 with the authors' lambda; what the bare command runs


@dataclass(frozen=True)
class Cell:
    """One run's place in a table or figure."""

    row: str
    column: str
    recipe: str
    seed: int
    overrides: tuple[str, ...]
    settings: Settings
    start: "Cell | None" = None  # the run whose weights it starts from

    @property
    def identity(self) -> dict[str, Any]:
        return identity(self.settings)


def read_table(number: str) -> dict[str, Any]:
    """configs/table/NUMBER.yaml. ConfigError if there is none."""
    return _read("table", number)


def read_figure(name: str) -> dict[str, Any]:
    """configs/figure/NAME.yaml. ConfigError if there is none."""
    return _read("figure", name)


def read_study(name: str) -> dict[str, Any]:
    """configs/study/NAME.yaml, with a row for each value of what it goes over, and a column for each part of the
    training images or classes. ConfigError if there is none.
    """
    study = _read("study", name)
    if "over" in study:
        study["rows"] = list(_spread(study))
    if "parts" in study:
        if "over" in study or len(study["columns"]) != 1:
            raise ConfigError(f"study={name}: parts go with one column, and not with over")
        [column] = study["columns"]
        [(setting, parts)] = study["parts"].items()
        then = {part: [*column.get("then", []), f"{setting}={part}"] for part in parts}
        study["problem"] = column["label"]
        study["columns"] = [{**column, "label": str(part), "then": then[part]} for part in parts]
    return study


def _spread(study: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for row in study["rows"]:
        for value in row.get("values", study["values"]):
            overrides = [*row["overrides"], f"{study['over']}={value}"]
            start = {"from": f"{row['from']}, {value}"} if "from" in row else {}
            yield {
                "label": f"{row['label']}, {value}",
                "line": row["label"],
                "at": value,
                "overrides": overrides,
                **start,
            }


def names(kind: str) -> list[str]:
    """The tables, figures or studies that there are."""
    return sorted(file.stem for file in (ROOT / "configs" / kind).glob("*.yaml"))


def _read(kind: str, name: str) -> dict[str, Any]:
    if name not in names(kind):
        raise ConfigError(f"{kind}={name}: there is no such {kind}; choose one of {', '.join(names(kind))}")
    file, plan = _load(kind, name)
    _check_keys(file, kind, plan)
    for part in ("row", "column"):
        for entry in plan.get(f"{part}s", []):
            _check_keys(file, f"{kind}'s {part}", entry)
    return plan


def _load(kind: str, name: str) -> tuple[str, dict[str, Any]]:
    """configs/KIND/NAME.yaml, and what it says. ConfigError if it is no mapping."""
    path = ROOT / "configs" / kind / f"{name}.yaml"
    file = path.relative_to(ROOT).as_posix()
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise cannot_read(file, error) from error
    if not isinstance(values, dict):
        raise ConfigError(f"{file} must hold keys and values")
    return file, values


def _check_keys(file: str, where: str, values: Any) -> None:
    """A misspelt key would change in silence what is run."""
    needed, possible = (text.split() for text in KEYS[where])
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: a {where} must be keys and values, got {values!r}")
    for key in values:
        if key not in needed + possible:
            raise ConfigError(f"{file}: unknown key {key}; a {where} has {', '.join(needed + possible)}")
    for key in needed:
        if key not in values:
            raise ConfigError(f"{file}: a {where} needs {key}")


def read_profile(name: str) -> dict[str, list[str]]:
    """Overrides by data set; none for the full size. The name of another entry stands for what that has."""
    if name == "full":
        return {}
    if name not in names("profile"):
        known = ", ".join(["full", *names("profile")])
        raise ConfigError(f"profile={name}: there is no such profile; choose one of {known}")
    entries: dict[str, list[str]] = _load("profile", name)[1]
    return {key: [one for item in items for one in entries.get(item, [item])] for key, items in entries.items()}


def cells(
    plan: dict[str, Any], profile: dict[str, list[str]], seeds: int, recipes: Sequence[str] = RECIPES
) -> Iterator[Cell]:
    """Every run of the table, the first seed of all rows first, so that a table fills evenly.

    A column's `then` comes after the profile, whose numbers it may change; a row's `paper` after its overrides. A row
    with `from` starts from the weights of that row's run.
    """
    composed: dict[tuple[str, ...], Settings] = {}  # a tenth of a second each; seeds differ in nothing else
    rows = {row["label"]: row for row in plan["rows"]}

    def cell(row: dict[str, Any], column: dict[str, Any], recipe: str, seed: int) -> Cell:
        of_paper = recipe == "paper"
        asked = [
            *column["overrides"],
            *(column.get("paper", []) if of_paper else []),
            *_of(profile, column),
            *column.get("then", []),
            *row["overrides"],
            *(row.get("paper", []) if of_paper else []),
        ]
        overrides = _once(asked)
        if overrides not in composed:
            composed[overrides] = compose(overrides)
        settings, overrides = replace(composed[overrides], seed=seed), (*overrides, f"seed={seed}")
        start = cell(rows[row["from"]], column, recipe, seed) if "from" in row else None
        if start is not None:
            folder = default_directory(start.settings, start.overrides).as_posix()
            settings, overrides = replace(settings, init_from=str(ROOT / folder)), (*overrides, f"init_from={folder}")
        return Cell(row["label"], column["label"], recipe, seed, overrides, settings, start)

    for seed in range(seeds):
        for column in plan["columns"]:
            for row in plan["rows"]:
                for recipe in recipes:
                    yield cell(row, column, recipe, seed)


def narrowed(
    wanted: Sequence[Cell], rows: str | None = None, columns: str | None = None, recipes: str | None = None
) -> list[Cell]:
    """The cells of the rows, columns and recipes whose labels are given, or parts of them, by commas: in that order,
    the first seed first. None stands for all. ConfigError if a label is like none.
    """
    in_rows = _places("rows", rows, [cell.row for cell in wanted])
    in_columns = _places("columns", columns, [cell.column for cell in wanted])
    in_recipes = _places("recipes", recipes, [cell.recipe for cell in wanted])
    chosen = [c for c in wanted if c.row in in_rows and c.column in in_columns and c.recipe in in_recipes]
    return sorted(chosen, key=lambda c: (c.seed, in_columns[c.column], in_rows[c.row], in_recipes[c.recipe]))


def _places(key: str, asked: str | None, labels: Sequence[str]) -> dict[str, int]:
    """The labels that are asked for, each with its place. Some labels have commas themselves."""
    known = list(dict.fromkeys(labels))
    if asked is None:
        return {label: place for place, label in enumerate(known)}
    found = _like(asked, known)
    for part in [] if found else asked.split(","):
        alike = _like(part, known)
        if not alike:
            raise ConfigError(f"{key}={part}: no label is like it; there are {'; '.join(known) or 'none'}")
        found += alike
    return {label: place for place, label in enumerate(dict.fromkeys(found))}


def _like(part: str, labels: Sequence[str]) -> list[str]:
    """The label itself where there is one, else those that hold the part; neither case nor blanks count."""
    plain = {label: "".join(label.lower().split()) for label in labels}
    sought = "".join(part.lower().split())
    same = [label for label in labels if plain[label] == sought]
    return same or [label for label in labels if sought and sought in plain[label]]


def _once(overrides: Sequence[str]) -> tuple[str, ...]:
    """Of two values for one key the later: folders are named by what is asked."""
    return tuple({item.partition("=")[0]: item for item in overrides}.values())


def figure_cells(plan: dict[str, Any], profile: dict[str, list[str]], seeds: int, recipe: str = "best") -> list[Cell]:
    """Every run of the figure or study, in one recipe; none if it is drawn from formulas."""
    return list(cells(plan, profile, seeds, (recipe,))) if "rows" in plan else []


def figure_recipes(figure: dict[str, Any]) -> tuple[str, ...]:
    """Those in which the figure can be drawn, `best` first: both where they differ in some column."""
    differ = any("paper" in column for column in figure.get("columns", []))
    return ("best", "paper") if differ else ("best",)


def _of(profile: dict[str, list[str]], column: dict[str, Any]) -> list[str]:
    """The profile's entry: the one that the column names, else that of its data set."""
    if not profile:
        return []
    entry = column.get("profile")
    if entry is None:
        [entry] = [item.partition("=")[2] for item in column["overrides"] if item.startswith("dataset=")]
    if entry not in profile:
        raise ConfigError(f"the profile says nothing of {entry}")
    return profile[entry]


def command(kind: str, name: str, profile: str, recipe: str = "best") -> str:
    """What to type; a figure in another recipe than `best` says so."""
    said = ("" if recipe == "best" else f" recipes={recipe}") + ("" if profile == "full" else f" profile={profile}")
    return f"python scripts/reproduce.py {kind}={name}{said}"


def note(profile: str) -> str:
    """What a reader of reduced numbers must know."""
    return (
        ""
        if profile == "full"
        else f"Reduced form `{profile}` (configs/profile/{profile}.yaml): no claim about the paper"
    )


def own_note(table: dict[str, Any], profile: str) -> str:
    """What the table's own file says of it, and of this size."""
    of_size = table.get("full" if profile == "full" else "reduced")
    return " ".join(f"{part.strip().rstrip('.')}." for part in (table.get("note"), of_size) if part)


def table_note(table: dict[str, Any], profile: str) -> str:
    """The same behind what a reader of reduced numbers must know."""
    first = f"{note(profile)}." if note(profile) else ""
    return " ".join(filter(None, (first, own_note(table, profile))))
