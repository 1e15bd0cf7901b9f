"""What was typed -> the overrides of each job."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from configs.errors import ConfigError, translate

FOLDER = Path(__file__).resolve().parent
PATHS = ("init_from", "run_dir", "data_root", "dataset.folder")
# What Hydra reads in a path without quotes: ASCII alone, and not the = of run folders' names. A comma is a sweep.
UNQUOTED = re.compile(r"(\$\{[^}]*\}|[\w./,$%*+:?@\\|-])*", re.ASCII)
OPTIONAL_GROUPS = ("experiment", "debug")
OF_REPRODUCE = ("table", "figure", "study", "profile")  # folders of scripts/reproduce.py's, and no groups of a run


def jobs(arguments: Sequence[str], *, sweep: bool) -> list[list[str]]:
    """The overrides of every job: one, or all combinations under -m. ConfigError for what cannot be read.

    Of two values for one key the later counts.
    """
    choices: dict[str, list[str]] = {}
    for override in _parse([quoted(argument) for argument in arguments]):
        key = override.get_key_element()
        if override.is_sweep_override():
            choices[key] = _values(key, override, sweep)
        elif override.is_delete():
            choices[key] = [str(override.input_line)]
        else:
            choices[key] = [f"{key}={override.get_value_element_as_str()}"]
    return [without_null(job) for job in itertools.product(*choices.values())]


def quoted(argument: str) -> str:
    """Paths with what Hydra's grammar keeps for itself or does not know, in quotes."""
    key, _, value = argument.partition("=")
    if key.lstrip("+") not in PATHS or UNQUOTED.fullmatch(value) or value[:1] in ("'", '"'):
        return argument
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value)
    return f"{key}='{escaped}'"


def groups() -> dict[str, list[str]]:
    """The configuration's groups and what each offers."""
    return {
        folder.name: sorted(file.stem for file in folder.glob("*.yaml"))
        for folder in sorted(FOLDER.iterdir())
        if any(folder.glob("*.yaml")) and folder.name not in OF_REPRODUCE
    }


def _parse(arguments: list[str]) -> list[Override]:
    for argument in arguments:
        key = argument.partition("=")[0].lstrip("+~")
        if re.match(r"hydra\b", key):
            raise ConfigError(f"{key} is Hydra's own and has no effect here")
        if argument.startswith("="):
            raise ConfigError(f"cannot read {argument!r}; options are written key=value")
    try:
        return OverridesParser.create().parse_overrides(arguments)
    except HydraException as error:
        raise translate(error) from error


def _values(key: str, override: Override, sweep: bool) -> list[str]:
    if not sweep:
        raise ConfigError(
            f"{override.input_line}: several values need -m to sweep over them, or {key}=[...] for a list"
        )
    try:
        values = list(override.sweep_string_iterator()) if override.is_discrete_sweep() else []
    except (HydraException, ValueError):  # glob(*), range(1,3,0)
        values = []
    if not values:
        raise ConfigError(f"{override.input_line}: a sweep needs values to choose from, as {key}=1,2,3")
    return [f"{key}={value}" for value in values]


def without_null(job: Sequence[str]) -> list[str]:
    """experiment=null and debug=null are what is anyway."""
    return [item for item in job if item.partition("=")[0] not in OPTIONAL_GROUPS or item.partition("=")[2] != "null"]


def check_groups(job: Sequence[str]) -> None:
    """ConfigError for dataset=null, dataset=5 and the like: of these groups there must be one, by name."""
    offered = groups()
    for item in job:
        key = item.partition("=")[0].lstrip("+~" if "=" in item else "+")  # ~loss takes away whatever there is
        if key in OF_REPRODUCE:
            raise ConfigError(f"{item}: {key}= is for scripts/reproduce.py")
        if key in offered:
            chosen = _parse([item])[0].value()
            names = chosen if isinstance(chosen, list) else [chosen]
            if item[0] == "~" and not isinstance(chosen, str):  # Hydra knows what to say of a name
                raise ConfigError(f"{item}: {key} cannot be taken away; choose one with {key}=NAME")
            if not all(isinstance(name, str) and name for name in names):
                raise ConfigError(f"{item}: choose one of {', '.join(offered[key])}")
