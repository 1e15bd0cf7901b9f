"""Fill a table of the paper: run what is missing, skip what is done, write the table.

    python scripts/reproduce.py table=3
    python scripts/reproduce.py table=2 profile=small seeds=3 budget_minutes=60
    python scripts/reproduce.py table=3 dry_run=true

table=           2, 3, 4: configs/table/N.yaml
seeds=           runs of each row (3)
profile=         full, or small: a reduced form for a CPU (configs/profile/small.yaml)
budget_minutes=  stop by then; a run that is cut goes on from its checkpoint the next time
parallel=        so many runs at once (1)
train=           false only writes the table from the records there are (make tables)
dry_run=         true lists what is missing and what it would take
Further options go to every run, as long as they do not change what it is: device=, data_root=, trainer.*, ...

Each finished run leaves a record in outputs/results/ (commit it); tables are made of records alone.
"""

import _root  # noqa: F401

# isort: split

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from configs.run_directory import run_directory
from configs.settings import ROOT, compose, identity
from scripts import _cli, _records
from scripts._plan import Cell, cells, read_profile, read_table
from scripts._runs import Budget, run_all

OWN = ["table", "seeds", "profile", "budget_minutes", "parallel", "train", "dry_run"]


def reproduce(arguments: list[str]) -> None:
    """See above."""
    own, extra = _cli.split_options(arguments, OWN)
    if "table" not in own:
        raise ConfigError("say which table: table=2, 3 or 4")
    profile, table = own.get("profile", "full"), read_table(own["table"])
    parallel, minutes = _whole(own, "parallel", 1), _minutes(own)
    dry_run, trains = _flag(own, "dry_run", False), _flag(own, "train", True)
    wanted = list(cells(table, read_profile(profile), _whole(own, "seeds", 3)))
    _check_extra(wanted[0], extra)

    from lsoftmax.engine.folder import identity_sha256  # torch, after the options were checked
    from lsoftmax.errors import UserError

    records = _records.read_records(profile)
    missing = {identity_sha256(cell.identity): cell for cell in wanted}
    missing = {key: cell for key, cell in missing.items() if key not in records}
    print(_overview(table["title"], wanted, list(missing.values()), records))
    if dry_run:
        return
    failed: list[Path] = []
    if trains:
        for result in run_all(_commands(list(missing.values()), extra), Budget(minutes), parallel, failed):
            print(f"record   {_records.keep(result, profile).relative_to(ROOT)}")
    print(f"table    {_write(own['table'], profile, table, wanted).relative_to(ROOT)}")
    if failed:
        raise UserError(f"{len(failed)} of the runs failed: {', '.join(map(str, failed))}")


def _whole(own: dict[str, str], key: str, default: int) -> int:
    value = own.get(key, str(default))
    if not value.isdecimal() or int(value) < 1:
        raise ConfigError(f"{key} must be an integer >= 1, got {value!r}")
    return int(value)


def _minutes(own: dict[str, str]) -> float | None:
    value = own.get("budget_minutes")
    try:
        minutes = None if value is None else float(value)
    except ValueError:
        minutes = math.nan
    if minutes is not None and not 0 <= minutes < math.inf:
        raise ConfigError(f"budget_minutes must be a number >= 0, got {value!r}")
    return minutes


def _flag(own: dict[str, str], key: str, default: bool) -> bool:
    value = own.get(key, str(default)).lower()
    if value not in ("true", "false"):
        raise ConfigError(f"{key} must be true or false, got {own[key]!r}")
    return value == "true"


def _check_extra(cell: Cell, extra: list[str]) -> None:
    """Options for every run may say how it is executed, not what it is."""
    if identity(compose([*cell.overrides, *extra])) != cell.identity:
        raise ConfigError(f"{' '.join(extra)}: these would make other runs than the table's")


def _commands(missing: Sequence[Cell], extra: list[str]) -> list[tuple[list[str], Path]]:
    """What to type for each run, and where its result will lie."""
    folders = [run_directory(cell.settings, cell.overrides) for cell in missing]
    return [([*cell.overrides, *extra, f"run_dir={path}"], path) for cell, path in zip(missing, folders, strict=True)]


def _overview(title: str, wanted: Sequence[Cell], missing: Sequence[Cell], records: dict[str, _records.Record]) -> str:
    """What there is, what is missing and what it takes, as far as records of the same kind tell."""
    lines, known = [f"{title}: {len(wanted)} cells, {len(missing)} runs missing"], 0.0
    for cell in missing:
        like = [
            record["seconds"]
            for record in records.values()
            if record["dataset"] == cell.identity["dataset"] and record["model"] == cell.identity["model"]
        ]
        seconds = sum(like) / len(like) if like else 0.0
        known += seconds
        about = f"about {seconds / 60:.0f} min" if like else "time unknown"
        lines.append(f"  {cell.column:10} {cell.row:18} {cell.recipe:6} seed={cell.seed}  {about}")
    if known:
        lines.append(f"  about {known / 60:.0f} min in all, one after another")
    return "\n".join(lines)


def _write(number: str, profile: str, table: dict[str, Any], wanted: Sequence[Cell]) -> Path:
    from lsoftmax.engine.files import write_text
    from scripts import _tables

    results = _tables.collect(wanted, _records.read_records(profile))
    folder = _records.folder(profile).parent
    folder.mkdir(parents=True, exist_ok=True)
    command = f"python scripts/reproduce.py table={number}" + ("" if profile == "full" else f" profile={profile}")
    note = "" if profile == "full" else f"Reduced form `{profile}`: see configs/profile/{profile}.yaml."
    write_text(folder / f"table{number}.md", _tables.markdown(table, results, command, note))
    write_text(folder / f"table{number}.csv", _tables.comma_separated(table, results))
    return folder / f"table{number}.md"


if __name__ == "__main__":
    sys.exit(_cli.main(reproduce, __doc__))
