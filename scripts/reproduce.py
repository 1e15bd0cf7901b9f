"""Fill a table, draw a figure of the paper, make a study: run what is missing, skip what is done, write the result.

    python scripts/reproduce.py table=3
    python scripts/reproduce.py figure=2 profile=small seeds=1
    python scripts/reproduce.py table=3 dry_run=true
    python scripts/reproduce.py study=ways

table=           2, 3, 4, 5: configs/table/N.yaml
figure=          2, 4, 5, 6, 7, psi, lr_lambda, roc: configs/figure/N.yaml
study=           does the margin pay: configs/study/NAME.yaml, on reduced problems of its own, or the full size
seeds=           runs of each row (3; a study says so itself)
profile=         full; small: a reduced form for a CPU; tiny: a check in seconds (configs/profile/)
rows=, columns=, recipes=  run only these, in this order: parts of labels, by commas
                 (rows=softmax,m=4 columns=cifar10 recipes=best); a figure is drawn in one recipe,
                 best unless recipes=paper is said (figures 5 and 7)
budget_minutes=  stop by then; a run that is cut goes on from its checkpoint the next time
parallel=        so many runs at once (1; on a GPU up to 3, as memory and cores allow)
train=           false only writes table or figure from the records there are (make tables, make figures)
dry_run=         true lists what is missing and what it would take
Further options go to every run, as long as they do not change what it is: device=, data_root=, trainer.*, ...
On a GPU trainer=fast goes there too, unless you name a trainer.

Each finished run leaves a record in outputs/results/ (commit it); all that is written is made of records alone.
"""

import _root  # noqa: F401

# isort: split

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from configs.run_directory import run_directory
from configs.settings import ROOT, compose, identity
from scripts import _cli, _expected, _records, _values
from scripts._plan import (
    Cell,
    cells,
    command,
    figure_cells,
    figure_recipes,
    names,
    narrowed,
    note,
    read_figure,
    read_profile,
    read_study,
    read_table,
    table_note,
)

KINDS = ("table", "figure", "study")
PARTS = ("rows", "columns", "recipes")
OWN = [*KINDS, "seeds", "profile", *PARTS, "budget_minutes", "parallel", "train", "dry_run"]


def reproduce(arguments: list[str]) -> None:
    """See above."""
    own, extra = _cli.split_options(arguments, OWN)
    asked = [kind for kind in KINDS if kind in own]
    if len(asked) != 1:
        raise ConfigError(f"say which one: {'; or '.join(f'{kind}={_one_of(names(kind))}' for kind in KINDS)}")
    [kind], profile = asked, own.get("profile", "full")
    parallel = _values.whole(own, "parallel", 1) if "parallel" in own else None
    minutes = _values.minutes(own, "budget_minutes")
    dry_run, trains = _values.flag(own, "dry_run", False), _values.flag(own, "train", True)
    plan, wanted = _wanted(kind, own, profile)
    _check_extra(wanted, extra)
    asked_for = narrowed(wanted, **{part: own[part] for part in PARTS if part in own})

    from lsoftmax.errors import UserError  # torch, after the options were checked
    from scripts import _runs, _tables

    if kind == "study" and profile == "full":
        profile = _records.STUDIES
    # Runs of the full size are the tables' too, whoever asked for them.
    home = "full" if profile == _records.STUDIES and plan["profile"] == "full" else profile
    records = _records.read_records(*_records.sources(profile))
    missing = _missing(plan, asked_for, records, profile)
    device = next((option.partition("=")[2] for option in extra if option.startswith("device=")), "auto")
    print(_expected.overview(plan["title"], asked_for, missing, records, device))
    if others := _tables.left_out(asked_for, records):
        print(
            f"  {others} runs have a record on other data, which does not count: delete it and the run folder to have "
            "them made again"
        )
    if dry_run:
        return
    failed: list[Path] = []
    left = {_key(cell) for cell in missing}
    if trains and missing:
        features, budget = _features_wanted(home), _runs.Budget(minutes)
        how, at_once = _execution_here(extra, device, missing)
        for some in _in_turns(missing):
            runs = _commands(some, [*how, *extra])
            folders = {key: folder for key, (_, folder) in zip(map(_key, some), runs, strict=True)}
            for result in _runs.run_all(runs, budget, parallel or at_once, failed):
                if result["config_sha256"] in left:  # what others start from may have its record
                    left.remove(result["config_sha256"])
                    _keep(result, home, folders[result["config_sha256"]], features)
    if kind == "table":
        print(f"table    {_write_table(own['table'], profile, plan, wanted).relative_to(ROOT)}")
    elif kind == "figure":
        print(_draw(own["figure"], profile, plan, wanted))
    else:
        print(f"study    {_write_study(own['study'], profile, plan, wanted).relative_to(ROOT)}")
    _show_in_tensorboard(home)
    if trains and len(left) > len(failed):
        print(f"{len(left) - len(failed)} runs are still missing: the same command goes on with them")
    if failed:
        raise UserError(f"{len(failed)} of the runs failed: {', '.join(map(str, failed))}")


def _one_of(choices: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1])))


def _wanted(kind: str, own: dict[str, str], profile: str) -> tuple[dict[str, Any], list[Cell]]:
    """What was asked, and all of its runs."""
    if kind == "study":
        plan = read_study(own[kind])
        if own.get("profile") == "full" != plan["profile"]:
            raise ConfigError(
                f"profile=full: study={own[kind]} has a size of its own ({plan['profile']}); leave it out"
            )
        overrides = read_profile(plan["profile"] if profile == "full" else profile)
        return plan, figure_cells(plan, overrides, _values.whole(own, "seeds", plan["seeds"]))
    overrides, seeds = read_profile(profile), _values.whole(own, "seeds", 3)
    if kind == "table":
        plan = read_table(own[kind])
        return plan, list(cells(plan, overrides, seeds))
    plan = read_figure(own[kind])
    recipe = own.get("recipes", "best")
    if recipe not in figure_recipes(plan):
        raise ConfigError(f"recipes={recipe}: figure={own[kind]} is drawn in {_one_of(figure_recipes(plan))}")
    return plan, figure_cells(plan, overrides, seeds, recipe)


def _key(cell: Cell) -> str:
    from lsoftmax.engine.folder import identity_sha256

    return identity_sha256(cell.identity)


def _missing(
    plan: dict[str, Any], wanted: Sequence[Cell], records: dict[str, _records.Record], profile: str
) -> list[Cell]:
    """One cell for each run that has no record, or whose record lacks the features that the figure shows."""
    from scripts import _features

    found: dict[str, Cell] = {}
    for cell in wanted:
        record = records.get(_key(cell))
        shown = "features" in plan and cell.seed == 0
        if record is None or (
            shown and record["status"] == "finished" and not _features.path(record, profile).exists()
        ):
            # Of recipes that are the same run the last, `best`: it lies where the bare command puts it.
            found[_key(cell)] = cell
    return list(found.values())


def _features_wanted(profile: str) -> dict[str, Any]:
    """By config_sha256: what to keep of the features of runs that some figure shows."""
    from lsoftmax.engine.folder import identity_sha256
    from scripts import _features

    overrides = {} if profile == _records.STUDIES else read_profile(profile)
    return {identity_sha256(what): features for what, features in _features.wanted(overrides)}


def _keep(result: _records.Record, profile: str, folder: Path, features: dict[str, Any]) -> None:
    from scripts import _features

    print(f"record   {_records.keep(result, profile).relative_to(ROOT)}")
    if result["config_sha256"] in features:
        kept = _features.keep(folder, result, features[result["config_sha256"]], profile)
        if kept is not None:
            print(f"features {kept.relative_to(ROOT)}")


def _check_extra(wanted: Sequence[Cell], extra: list[str]) -> None:
    """Options for every run may say how it is executed, not what it is."""
    if any(option.lstrip("+").startswith("run_dir=") for option in extra):
        raise ConfigError("run_dir=: each run has a folder of its own, under outputs/runs")
    if not wanted and extra:
        raise ConfigError(f"{' '.join(extra)}: this figure is drawn from formulas, there is nothing to run")
    # Each kind of run: a loss without lambda, say, takes no notice of schedule.lam.
    kinds = {repr(cell.identity): cell for cell in wanted if cell.seed == wanted[0].seed} if extra else {}
    for cell in kinds.values():
        if identity(compose([*_from_anywhere(cell), *extra])) != cell.identity:
            raise ConfigError(f"{' '.join(extra)}: these would make other runs than the table's")


def _in_turns(missing: Sequence[Cell]) -> Iterator[list[Cell]]:
    """First the runs whose weights others start from, where they are not here, then the others."""

    def is_here(cell: Cell) -> bool:
        return (run_directory(cell.settings, cell.overrides) / "model.safetensors").exists()

    first = {_key(cell.start): cell.start for cell in missing if cell.start is not None and not is_here(cell.start)}
    yield list(first.values())
    yield [cell for cell in missing if _key(cell) not in first]


def _commands(missing: Sequence[Cell], extra: list[str]) -> list[tuple[list[str], Path]]:
    """What to type for each run, and where its result will lie."""
    folders = [run_directory(cell.settings, cell.overrides) for cell in missing]
    both = zip(missing, folders, strict=True)
    return [([*_from_anywhere(cell), *extra, f"run_dir={path}"], path) for cell, path in both]


def _from_anywhere(cell: Cell) -> list[str]:
    """Its overrides; the path of the run to start from is read from the folder that one stands in."""
    start = "init_from="
    return [f"{start}{ROOT / item.removeprefix(start)}" if item.startswith(start) else item for item in cell.overrides]


def _execution_here(extra: list[str], device: str, missing: Sequence[Cell]) -> tuple[list[str], int]:
    """Options that this machine adds, and how many runs at once suit it; said where it is not the plain way."""
    from lsoftmax.engine.device import choose_device, describe, free_bytes
    from scripts import _execution

    here = choose_device(device)
    options = _execution.options(extra, here.type)
    faces = any(cell.settings.dataset.name == "webface" for cell in missing) and "dataset.stream=true" not in extra
    at_once = _execution.parallel(here.type, free_bytes(here), faces=faces)
    if options or at_once > 1:
        print(f"on {describe(here)}: {' '.join(options) or 'as asked'}, parallel={at_once} unless given")
    return options, at_once


def _write_table(number: str, profile: str, table: dict[str, Any], wanted: Sequence[Cell]) -> Path:
    from lsoftmax.files import make_folder, write_text
    from scripts import _tables

    records = _records.read_records(profile)
    results = _tables.collect(wanted, records)
    folder = _records.results_folder(profile)
    make_folder(folder)
    others = _tables.left_out(wanted, records)
    said = command("table", number, profile), table_note(table, profile)
    write_text(folder / f"table{number}.md", _tables.markdown(table, results, *said, others))
    write_text(folder / f"table{number}.csv", _tables.comma_separated(table, results))
    return folder / f"table{number}.md"


def _write_study(name: str, profile: str, study: dict[str, Any], wanted: Sequence[Cell]) -> Path:
    from lsoftmax.files import make_folder, write_text
    from scripts import _figures, _studies, _tables

    records = _records.read_records(*_records.sources(profile))
    results, others = _tables.collect(wanted, records), _tables.left_out(wanted, records)
    folder = _records.results_folder(profile)
    make_folder(folder)
    size = "full" if profile == _records.STUDIES else profile
    if note(size):
        study = {**study, "text": f"{note(size)}; what follows is said of the study's own size.\n\n{study['text']}"}
    write_text(folder / f"{name}.md", _studies.markdown(study, results, command("study", name, size), others))
    write_text(folder / f"{name}.csv", _studies.comma_separated(study, results))
    if _figures.can_draw():
        for path in _figures.write_study(name, folder, study, results, others):
            print(f"figure   {path.relative_to(ROOT)}, .svg")
    return folder / f"{name}.md"


def _draw(name: str, profile: str, plan: dict[str, Any], wanted: Sequence[Cell]) -> str:
    """What there is to say about it."""
    from scripts import _figures

    if not _figures.can_draw():
        return "figure   not drawn: matplotlib is missing (pip install matplotlib); the records are kept"
    records = _records.read_records(profile)
    if wanted and not _figures.runs(wanted, records):
        return "figure   not drawn: no run has been made yet"
    path = _figures.write(name, profile, plan, wanted, records)
    return f"figure   {path.relative_to(ROOT)}, .svg"


def _show_in_tensorboard(profile: str) -> None:
    from scripts import _hparams

    records = _records.read_records(profile)
    if records and _hparams.write(records, profile) is None:
        print("hparams  not written: tensorboard is missing")


if __name__ == "__main__":
    sys.exit(_cli.main(reproduce, __doc__))
