"""A bad value for every key: the error names the key, the value and what is accepted, in one line."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import OmegaConf

from configs import ConfigError, compose
from configs.schema import all_keys
from configs.settings import to_settings

Values = Callable[..., dict[str, Any]]
FLAG = ("true or false", ["yes", 1, 0, None, [True]])
INF, NAN, HUGE = float("inf"), float("nan"), 10**400


def whole(least: int, *, null: bool = False) -> tuple[str, list[Any]]:
    bad = [least - 1, float(least), least + 0.5, True, str(least), [least], NAN]
    return f"an integer >= {least}", bad if null else [*bad, None]


def number(least: int = 0, *, null: bool = False) -> tuple[str, list[Any]]:
    bad = [least - 1, least - 1e-9, INF, NAN, True, "1.0", [1.0]]
    return f"a number >= {least}", bad if null else [*bad, None]


def positive() -> tuple[str, list[Any]]:
    return "a number > 0", [0, 0.0, -1, INF, NAN, True, "1.0", [1.0], None]


def share() -> tuple[str, list[Any]]:
    return "a number > 0 and <= 1", [0, 0.0, -0.1, 1.0001, 2, INF, NAN, True, "0.7", [0.7], None]


def choice(*names: str, null: bool = False) -> tuple[str, list[Any]]:
    bad = ["nope", "", 1, [names[0]], {"a": 1}]
    return f"one of {', '.join(names)}", bad if null else [*bad, None]


DATASETS = ("mnist5k", "mnist", "cifar10", "cifar10+", "cifar100", "synthetic", "webface", "lfw_dev")
LOSSES = ("softmax", "lsoftmax", "asoftmax", "hinge", "contrastive", "triplet", "cosface", "arcface")
MODELS = ("mnist_2d", "mnist", "cifar10", "cifar100", "face", "caffe_mnist", "caffe_cifar10")
BAD: dict[str, tuple[str, list[Any]]] = {
    "dataset.name": choice(*DATASETS),
    "dataset.augment": choice("none", "mirror", "crop_mirror"),
    "dataset.mean": (
        "image, channel or a number",
        ["images", "", None, True, INF, NAN, HUGE, 1e39, -1e39, [1], {"a": 1}],
    ),
    "dataset.scale": positive(),
    "dataset.validation": whole(0),
    "dataset.train_images": whole(1, null=True),
    "dataset.train_part": whole(0),
    "dataset.classes": whole(2, null=True),
    "dataset.first_class": whole(0),
    "dataset.check_integrity": FLAG,
    "dataset.like": choice("mnist", "cifar10", "cifar100", "face"),
    "dataset.test_images": whole(1, null=True),
    "dataset.folder": ("a folder or null", [3, True, "", ["a"], {"a": 1}]),
    "dataset.verify": (
        "a list of names of verification sets, each once",
        ["lfw", None, 3, [3], ["a/b"], [".."], [""], ["lfw", "lfw"], ["held_out"], {"a": 1}],
    ),
    "dataset.stream": ("true or false or null", ["yes", 1, 0, [True]]),
    "dataset.min_images": whole(1),
    "model.name": choice(*MODELS),
    "model.width": positive(),
    "model.activation": choice("prelu", "relu", null=True),
    "model.pooling": choice("ceil", "floor"),
    "model.after_fc": choice("bn_prelu", "bn", "none", null=True),
    "model.filters": ("a list of integers >= 1", [3, "a", [0], [1.0], [None], [[1]], [True], {"a": 1}, []]),
    "model.input_size": ("[height, width]", [28, "a", [28], [28, 28, 28], [28, 0], [28.0, 28], [28, None], {"a": 1}]),
    "loss.name": choice(*LOSSES),
    "loss.m": whole(1),
    "loss.gradient": choice("exact", "norms_live", "detached"),
    "loss.margin_on": choice("all", "winners"),
    "loss.form": choice("one_vs_all", "crammer_singer"),
    "loss.norm": choice("l1", "l2"),
    "loss.class_reduction": choice("sum", "mean"),
    "loss.margin": number(),
    "loss.balance": number(),
    "loss.s": positive(),
    "schedule.steps": whole(1),
    "schedule.batch_size": whole(2),
    "schedule.lr.base": (positive()[0], [*positive()[1], HUGE]),
    "schedule.lr.milestones": (
        "a list of increasing steps > 0",
        [5, "a", None, [0], [-1], [5, 5], [5, 3], [1.5], [True], ["a"], [[1]], {"a": 1}],
    ),
    "schedule.lr.factor": positive(),
    "schedule.lr.kind": choice("step", "plateau"),
    "schedule.lr.every": whole(1),
    "schedule.lr.patience": whole(0),
    "schedule.lr.minimum": number(),
    "schedule.lam.kind": choice("power", "constant", "adaptive"),
    # inf is no bad base or minimum: the whole run is plain softmax (LambdaSchedule).
    "schedule.lam.base": ("a number >= 0", [-1, -INF, NAN, True, "1.0", None]),
    "schedule.lam.gamma": number(),
    "schedule.lam.power": number(),
    "schedule.lam.minimum": ("a number >= 0", [-1, -INF, NAN, True, "1.0", None]),
    "schedule.lam.delay": whole(0),
    "schedule.lam.accuracy": share(),
    "schedule.lam.rate": share(),
    "schedule.lam.guard": ("a number in [0, 1)", [1, 1.0, -0.1, NAN, INF, True, "0.9", None, [0.9]]),
    "schedule.gradient": choice("exact", "norms_live", "detached"),
    "schedule.margin_on": choice("all", "winners"),
    "schedule.momentum": ("a number in [0, 1)", [1, 1.0, -0.1, NAN, INF, True, "0.9", None, [0.9]]),
    "schedule.weight_decay": number(),
    "schedule.classifier.lr_factor": number(),
    "schedule.classifier.weight_decay": number(null=True),
    "trainer.log_every": whole(1),
    "trainer.eval_every": whole(1, null=True),
    "trainer.checkpoint_every": whole(1),
    "trainer.checkpoint_minutes": positive(),
    "trainer.eval_batch_size": whole(1),
    "trainer.precision": choice("fp32", "bf16"),
    "trainer.channels_last": FLAG,
    "trainer.cuda_graph": FLAG,
    "trainer.compile": FLAG,
    "trainer.deterministic": FLAG,
    "trainer.on_divergence": choice("stop", "raise_lambda"),
    "trainer.max_restarts": whole(0),
    "trainer.keep_checkpoint": FLAG,
    "trainer.overwrite": FLAG,
    "init_from": ("the folder of a finished run", [3, True, "", ["a"], {"a": 1}]),
    "seed": ("an integer in 0..2^32-1", [-1, 2**32, 1.0, True, "1", None, [1]]),
    "device": ("auto, cpu, cuda", [None, 3, True, "", ["cpu"]]),
    "data_root": ("a folder", [None, 3, True, "", ["a"]]),
    "data_download": FLAG,
    "run_dir": ("a folder", [3, True, "", ["a"], {"a": 1}]),
}
CASES = [pytest.param(key, value, id=f"{key}={str(value)[:30]!r}") for key, (_, bad) in BAD.items() for value in bad]


# Keys that the default configuration lacks, and a choice that has them.
HOMES = {
    **dict.fromkeys(("dataset.like", "dataset.test_images"), "dataset=synthetic"),
    **dict.fromkeys(("dataset.folder", "dataset.stream", "dataset.verify"), "dataset=webface"),
    "dataset.min_images": "dataset=lfw_dev",
    **dict.fromkeys(("loss.form", "loss.norm", "loss.class_reduction"), "loss=hinge"),
    **dict.fromkeys(("loss.margin", "loss.balance"), "loss=triplet"),
    "loss.s": "loss=cosface",
}


def with_value(values: Values, key: str, value: Any, *home: str) -> dict[str, Any]:
    everything = values(*(home or ([HOMES[key]] if key in HOMES else [])))
    *path, name = key.split(".")
    group = everything
    for part in path:
        group = group[part]
    assert name in group
    group[name] = value
    return everything


def test_every_key_of_the_schema_stands_in_the_table_above() -> None:
    assert set(BAD) == set(all_keys()) - {"dataset", "model", "loss", "schedule", "trainer"}


def test_every_key_is_listed_once() -> None:
    assert len(all_keys()) == len(set(all_keys()))


@pytest.mark.parametrize(("key", "value"), CASES)
def test_a_bad_value_is_an_error_that_names_key_value_and_what_is_accepted(
    values: Values, key: str, value: Any
) -> None:
    with pytest.raises(ConfigError) as error:
        to_settings(OmegaConf.create(with_value(values, key, value)))
    assert str(error.value).startswith(f"{key} must be {BAD[key][0]}")
    assert str(error.value).endswith(f", got {value!r}")
    assert "\n" not in str(error.value)


def is_whole(accepted: str) -> bool:
    return accepted.startswith(("an integer >=", "a list of integers", "[height", "a list of increasing"))


# A number that no library takes would be a traceback later.
LARGEST = {key: 2**31 - 1 for key, (accepted, _) in BAD.items() if is_whole(accepted)} | {"loss.m": 1000}
LISTS = ("model.filters", "model.input_size", "schedule.lr.milestones")
TOO_LARGE = [(key, value) for key, most in LARGEST.items() if key not in LISTS for value in (most + 1, 10**22)]
TOO_LARGE += [(key, [1, value]) for key in LISTS for value in (2**31, 10**22)]


@pytest.mark.parametrize(("key", "value"), TOO_LARGE)
def test_a_number_that_is_too_large_is_an_error_that_names_the_largest(values: Values, key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as error:
        to_settings(OmegaConf.create(with_value(values, key, value)))
    assert str(error.value) == f"{key} must be <= {LARGEST[key]}, got {value!r}"


# The margins of these losses are real numbers; the others' are whole ones.
MARGINS = [("cosface", "a number >= 0", bad) for bad in number()[1]]
MARGINS += [("arcface", "a number >= 0 and < pi/2", bad) for bad in [*number()[1], math.pi / 2, 28.6]]


@pytest.mark.parametrize(("loss", "accepted", "value"), MARGINS)
def test_a_bad_real_margin_is_an_error_that_names_key_value_and_what_is_accepted(
    values: Values, loss: str, accepted: str, value: Any
) -> None:
    with pytest.raises(ConfigError) as error:
        to_settings(OmegaConf.create(with_value(values, "loss.m", value, f"loss={loss}")))
    assert str(error.value).startswith(f"loss.m must be {accepted}") and str(error.value).endswith(f", got {value!r}")


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_has_a_file_of_its_name(values: Values, loss: str) -> None:
    assert values(f"loss={loss}")["loss"]["name"] == loss


@pytest.mark.parametrize("loss", ["lsoftmax", "asoftmax", "cosface", "arcface"])
def test_every_angular_margin_is_called_m(loss: str) -> None:
    assert compose([f"loss={loss}", "loss.m=1"]).loss.m == 1


# One for each way a text can become a value: the error shows what was typed.
TYPED = {
    "loss.m=0": "loss.m must be an integer >= 1, got 0",
    "loss.m=4.0": "loss.m must be an integer >= 1, got 4.0",
    "loss.m=": "loss.m must be an integer >= 1, got ''",
    "loss.m=four": "loss.m must be an integer >= 1, got 'four'",
    "schedule.lam.base=-1": "schedule.lam.base must be a number >= 0, got -1",
    "schedule.lam.minimum=-0.5": "schedule.lam.minimum must be a number >= 0, got -0.5",
    "schedule.lr.milestones=[500,400]": "schedule.lr.milestones must be a list of increasing steps > 0, got [500, 400]",
    "schedule.steps=1e3": "schedule.steps must be an integer >= 1, got 1000.0",
    "data_download=no": "data_download must be true or false, got 'no'",
    "seed=-1": "seed must be an integer in 0..2^32-1, got -1",
    "device=null": "device must be auto, cpu, cuda, cuda:1, ..., got None",
    "schedule.lr=0.1": "schedule.lr must be a group of keys, got 0.1",
}


@pytest.mark.parametrize("option", TYPED)
def test_a_bad_value_typed_on_the_command_line_is_shown(option: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose([option])
    assert str(error.value) == TYPED[option]


NULLS = ["train_images", "classes"]


@pytest.mark.parametrize("key", [f"dataset.{name}" for name in NULLS] + ["model.filters", "init_from", "run_dir"])
def test_null_is_a_value_where_the_table_says_so(values: Values, key: str) -> None:
    assert to_settings(OmegaConf.create(with_value(values, key, None)))


LIMITS = [
    ("loss.m", 1),
    ("loss.margin", 0),
    ("loss.balance", 0),
    ("schedule.steps", 1),
    ("schedule.batch_size", 2),
    ("schedule.momentum", 0),
    ("schedule.lam.base", 0),
    ("schedule.weight_decay", 0),
    ("schedule.lr.milestones", []),
    ("schedule.lr.milestones", [1, 2]),
    ("seed", 2**32 - 1),
    ("dataset.classes", 2),
    ("dataset.mean", 0),
    ("dataset.mean", -127.5),
    ("dataset.mean", 3.4028234e38),
    ("loss.m", 1000),
    ("schedule.steps", 2**31 - 1),
    ("model.filters", [1, 2**31 - 1]),
    ("trainer.max_restarts", 0),
]


@pytest.mark.parametrize(("key", "value"), LIMITS)
def test_the_last_good_value_of_a_range_is_accepted(values: Values, key: str, value: Any) -> None:
    assert to_settings(OmegaConf.create(with_value(values, key, value)))


@pytest.mark.parametrize("key", BAD)
def test_a_key_that_was_deleted_is_missing(values: Values, key: str) -> None:
    everything = with_value(values, key, None)
    *path, name = key.split(".")
    group = everything
    for part in path:
        group = group[part]
    del group[name]
    with pytest.raises(ConfigError, match=rf"^{key} "):
        to_settings(OmegaConf.create(everything))


@pytest.mark.parametrize("group", ["dataset", "model", "loss", "schedule", "trainer", "schedule.lr", "schedule.lam"])
@pytest.mark.parametrize("value", [3, "a", None, [1]])
def test_a_group_that_is_no_group_is_named(values: Values, group: str, value: Any) -> None:
    with pytest.raises(ConfigError) as error:
        to_settings(OmegaConf.create(with_value(values, group, value)))
    assert str(error.value) == f"{group} must be a group of keys, got {value!r}"
