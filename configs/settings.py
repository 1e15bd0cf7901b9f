"""From Hydra's composed values to checked settings: the one crossing."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, cast, get_args, get_origin

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from configs import arguments, schema
from configs.errors import ConfigError, cannot_read, translate, unknown_key
from configs.fields import MISSING
from configs.schema import Settings

ROOT = Path(__file__).resolve().parents[1]

# Keys that the configuration file of an older run lacks, with values that change nothing of such a run.
ADDED_LATER: dict[str, dict[str, Any]] = {
    "dataset": {"train_part": 0, "first_class": 0},
    "schedule": {
        "gradient": "exact",
        "margin_on": "all",
        "lam": {"accuracy": 0.7, "rate": 0.02, "guard": 0.0},
        "lr": {"kind": "step", "every": 1000, "patience": 2, "minimum": 0.0},
    },
    "trainer": {"cuda_graph": False},
}

LOSS_ADDED_LATER: dict[type, dict[str, str]] = {
    schema.LSoftmax: {"margin_on": "all"},
    schema.Hinge: {"class_reduction": "sum"},
}


def register() -> None:
    """${root:} of config.yaml is the folder of train.py: the default places do not depend on the working folder."""
    OmegaConf.register_new_resolver("root", lambda: str(ROOT), replace=True)
    OmegaConf.register_new_resolver("groups", lambda: "\n".join(_offers()), replace=True)
    if os.environ.get("LSOFTMAX_DATA") == "":  # empty is as good as not set
        del os.environ["LSOFTMAX_DATA"]


def _offers() -> Iterator[str]:
    """The groups as --help lists them."""
    for group, names in arguments.groups().items():
        yield f"{group}: {', '.join(names)}"


def compose(overrides: Sequence[str] = ()) -> Settings:
    """What `python train.py OVERRIDES` would run. ConfigError for anything wrong."""
    register()
    [job] = arguments.jobs(overrides, sweep=False)
    arguments.check_groups(job)
    try:
        with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
            return to_settings(hydra_compose("config", overrides=job))
    except (HydraException, OmegaConfBaseException) as error:
        raise translate(error) from error
    except YAMLError as error:  # it says which file
        raise cannot_read("a file of the configuration", error) from error


def to_settings(config: DictConfig) -> Settings:
    """Typed, complete and in range, or a ConfigError that names the key."""
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise translate(error) from error
    settings: Settings = _typed(Settings, cast(dict[str, Any], values), "")
    _check_together(settings)
    return settings


def _check_together(settings: Settings) -> None:
    """What one key allows and another forbids."""
    lam = settings.schedule.lam
    for name in ("base", "minimum"):
        value = getattr(lam, name)
        if lam.kind == "adaptive" and math.isinf(value):
            raise ConfigError(f"schedule.lam.{name} must be finite for schedule.lam.kind=adaptive, got {value!r}")
    lr = settings.schedule.lr
    if lr.kind == "step" and lr.factor > 1 and math.log10(lr.base) + len(lr.milestones) * math.log10(lr.factor) > 30:
        raise ConfigError(f"schedule.lr.factor must leave a learning rate below 1e30 at the end, got {lr.factor!r}")
    if lr.kind == "plateau":
        if isinstance(settings.dataset, schema.LfwDataset):
            raise ConfigError("schedule.lr.kind=plateau looks at held-out data, of which lfw_dev has none")
        if settings.dataset.validation == 0:
            raise ConfigError("schedule.lr.kind=plateau looks at held-out data: dataset.validation must be > 0")
        if lr.factor >= 1:
            raise ConfigError(f"schedule.lr.factor must be < 1 for schedule.lr.kind=plateau, got {lr.factor!r}")
        if lr.every >= settings.schedule.steps:
            steps = settings.schedule.steps
            raise ConfigError(f"schedule.lr.every must be < schedule.steps {steps} for kind=plateau, got {lr.every}")
        if lr.minimum > lr.base:
            raise ConfigError(f"schedule.lr.minimum must be <= schedule.lr.base {lr.base:g}, got {lr.minimum!r}")


def _typed(cls: type, values: dict[str, Any], path: str) -> Any:
    """An instance of the dataclass; nested dataclasses and variants by their own."""
    known = {item.name: item for item in fields(cls)}
    for name in values:
        if name not in known:
            raise unknown_key(_join(path, str(name)))
    return cls(**{name: _value(item, values, _join(path, name)) for name, item in known.items()})


def _value(item: Any, values: dict[str, Any], path: str) -> Any:
    if values.get(item.name, MISSING) == MISSING:
        raise ConfigError(f"{path} is missing")
    value = values[item.name]
    cls = _variant(path, value) if path in schema.VARIANTS else item.type
    if is_dataclass(cls):
        if not isinstance(value, dict):
            raise ConfigError(f"{path} must be a group of keys, got {value!r}")
        return _typed(cls, value, path)  # type: ignore[arg-type]
    accepted, check = item.metadata["accepted"], item.metadata["check"]
    try:
        typed = _typed_value(item.type, value)
        accepts = check(typed)
    except (TypeError, OverflowError):
        accepts = False
    if accepts:
        _check_size(typed, item.metadata["most"], path)
        return typed
    raise ConfigError(f"{path} must be {accepted}, got {value!r}")


def _check_size(value: Any, most: int | None, path: str) -> None:
    numbers = value if isinstance(value, list) else [value]
    if most is not None and any(number is not None and number > most for number in numbers):
        raise ConfigError(f"{path} must be <= {most}, got {value!r}")


def _variant(path: str, value: Any) -> Any:
    variants = schema.VARIANTS[path]
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must be a group of keys, got {value!r}")
    name = value.get("name")
    if not isinstance(name, str) or name not in variants:
        raise ConfigError(f"{path}.name must be one of {', '.join(variants)}, got {name!r}")
    return variants[name]


def _typed_value(kind: Any, value: Any) -> Any:
    """The value as the field's type; TypeError if it is of another. Whole numbers are floats too, true is no number."""
    if kind is Any:
        return value
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if value is None and NoneType in kinds:
        return None
    if get_origin(kinds[0]) is list and isinstance(value, list):
        return [_typed_value(get_args(kinds[0])[0], item) for item in value]
    if float in kinds and type(value) is int:
        return float(value)
    if type(value) in kinds:
        return value
    raise TypeError


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def identity(settings: Settings) -> dict[str, Any]:
    """What was asked, as plain containers: this makes a run what it is. The rest is how it is executed."""
    values = asdict(settings)
    # How files are checked and read is no part of what they are: a run's data are known by the hash of their pixels.
    for how in ("check_integrity", "stream"):
        values["dataset"].pop(how, None)
    for name, neutral in ADDED_LATER["dataset"].items():  # once were no options
        if values["dataset"][name] == neutral:
            del values["dataset"][name]
    for key, unused in (("lam", schema.UNUSED_BY), ("lr", schema.UNUSED_BY_LR)):
        group = values["schedule"][key]
        for name in unused.get(group["kind"], ()):
            del group[name]
    if values["schedule"]["lam"].get("guard") == 0:  # once was no option
        del values["schedule"]["lam"]["guard"]
    for key in ("gradient", "margin_on"):  # they are in the loss
        del values["schedule"][key]
    if values["init_from"] is not None:  # wherever the project lies, and however the folder was typed, and from where
        start = Path(os.path.abspath(Path(values["init_from"]).expanduser()))
        values["init_from"] = (start.relative_to(ROOT) if start.is_relative_to(ROOT) else start).as_posix()
    return identity_of(values)


def identity_of(record: dict[str, Any]) -> dict[str, Any]:
    """The same of a finished run's record. Without a margin there is no lambda, though older records have one; what was
    not an option once goes without saying."""
    values = {key: record[key] for key in ("dataset", "model", "loss", "schedule", "init_from", "seed")}
    loss = schema.LOSSES[values["loss"]["name"]]
    unsaid = LOSS_ADDED_LATER.get(loss, {}).items()
    values["loss"] = {key: value for key, value in values["loss"].items() if (key, value) not in unsaid}
    if not issubclass(loss, schema.LSoftmax):
        values["schedule"] = {key: value for key, value in values["schedule"].items() if key != "lam"}
    return values


def to_yaml(settings: Settings) -> str:
    """All of it, as config.yaml keeps it."""
    return OmegaConf.to_yaml(OmegaConf.create(asdict(settings)))


def from_file(path: Path, overrides: Sequence[str] = ()) -> Settings:
    """A run's own config.yaml, with options on top, but for another data set, network or loss.

    Data are looked for where the run had them, else where this machine has them.
    """
    register()
    for item in overrides:
        key = item.partition("=")[0]
        if key in ("dataset", "model", "loss", "schedule", "experiment", "debug"):
            raise ConfigError(f"{item}: the run in {path.parent} has its own {key}")
    for item in overrides:
        try:
            OmegaConf.from_dotlist([item])
        except (OmegaConfBaseException, YAMLError) as error:
            raise ConfigError(f"{item}: cannot be read ({str(error).splitlines()[0]})") from error
    try:
        there = OmegaConf.load(path)
        if not isinstance(there, DictConfig):
            raise ConfigError(f"{path} is no configuration of a run")
        here = {"device": "auto"}
        if not _is_folder(str(there.get("data_root"))):
            here["data_root"] = "${oc.env:LSOFTMAX_DATA,${root:}/outputs/data}"
        loss = schema.LOSSES.get(str(OmegaConf.select(there, "loss.name")), NoneType)
        older = ADDED_LATER | ({"loss": LOSS_ADDED_LATER[loss]} if loss in LOSS_ADDED_LATER else {})
        config = OmegaConf.merge(older, there, here, OmegaConf.from_dotlist(list(overrides)))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no run in {path.parent}: {path.name} is missing") from error
    except (OSError, OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        raise cannot_read(path, error) from error
    return to_settings(cast(DictConfig, config))


def _is_folder(path: str) -> bool:
    try:
        return os.path.isdir(Path(path).expanduser())
    except RuntimeError:  # ~NAME of a user of another machine
        return False


def of_run(run: Path, overrides: Sequence[str] = ()) -> Settings:
    """A run's own settings, executed as the options say. ConfigError for one that would make another run of it.

    A pack may have moved: `dataset.folder` can be given anew.
    """
    path = run / "config.yaml"
    own, asked = _wherever(from_file(path)), from_file(path, overrides)
    if _wherever(asked) != own:
        wrong = next(
            (option for option in overrides if _wherever(from_file(path, [option])) != own), " ".join(overrides)
        )
        can = "device=, data_root=, dataset.folder= and trainer.* can be set"
        raise ConfigError(f"{wrong}: the run in {run} was made otherwise; {can}")
    return asked


def _wherever(settings: Settings) -> dict[str, Any]:
    """The identity, wherever the pack lies."""
    values = identity(settings)
    values["dataset"].pop("folder", None)
    return values
