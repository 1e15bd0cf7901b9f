"""Every file of every group, and who wins where two of them say something."""

from dataclasses import asdict
from pathlib import Path

import pytest

from configs import ROOT, ConfigError, compose

GROUPS = ("dataset", "model", "loss", "schedule", "trainer", "experiment", "debug")
FILES = sorted(f"{group}={path.stem}" for group in GROUPS for path in Path(ROOT, "configs", group).glob("*.yaml"))
DATASETS = sorted(path.stem for path in Path(ROOT, "configs", "dataset").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in Path(ROOT, "configs", "experiment").glob("*.yaml"))
# data set -> model's name, width, and the schedule that it brings
PAIRS = {
    "mnist5k": ("mnist", 0.25, "mnist5k"),
    "mnist": ("mnist", 1.0, "mnist"),
    "cifar10": ("cifar10", 1.0, "cifar10"),
    "cifar10+": ("cifar10", 1.0, "cifar10+"),
    "cifar100": ("cifar100", 1.0, "cifar100"),
    "synthetic": ("cifar10", 1.0, "cifar10"),
    "webface": ("face", 1.0, "webface"),
    "lfw_dev": ("face", 0.25, "lfw_dev"),
}


NEEDS = {"schedule=webface_paper": ["dataset=webface", "dataset.validation=100"]}  # it looks at people held out


@pytest.mark.parametrize("choice", FILES)
def test_every_file_of_every_group_composes(choice: str) -> None:
    compose([*NEEDS.get(choice, []), choice])


def test_there_is_no_folder_of_configs_but_the_groups() -> None:
    folders = {path.name for path in Path(ROOT, "configs").iterdir() if path.is_dir() and any(path.glob("*.yaml"))}
    assert folders - {"table", "figure", "study", "profile"} == set(GROUPS)


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_brings_its_network_and_schedule(name: str) -> None:
    settings = compose([f"dataset={name}"])
    model, width, schedule = PAIRS[name]
    assert (settings.dataset.name, settings.model.name, settings.model.width) == (name, model, width)
    assert settings.schedule == compose([f"schedule={schedule}"]).schedule


def test_the_default_is_the_embedded_digits_with_margin_4() -> None:
    assert compose() == compose(["dataset=mnist5k", "model=mnist_narrow", "loss=lsoftmax", "loss.m=4", "seed=0"])


def test_only_cifar10_plus_and_faces_are_augmented() -> None:
    augmented = {name: compose([f"dataset={name}"]).dataset.augment for name in DATASETS}
    kinds = {"cifar10+": "crop_mirror", "webface": "mirror", "lfw_dev": "mirror"}
    assert augmented == {name: kinds.get(name, "none") for name in DATASETS}


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_subtracts_the_mean_and_nothing_more(name: str) -> None:
    dataset = compose([f"dataset={name}"]).dataset
    assert (dataset.mean, dataset.scale, dataset.validation) == ("image", 1.0, 0)


@pytest.mark.parametrize("overrides", [("dataset=cifar10", "model=mnist"), ("model=mnist", "dataset=cifar10")])
def test_the_command_line_overrides_the_data_sets_network(overrides: tuple[str, ...]) -> None:
    assert compose(overrides).model.name == "mnist"


@pytest.mark.parametrize("order", [1, -1])
def test_the_command_line_overrides_the_data_sets_schedule(order: int) -> None:
    settings = compose(["dataset=cifar10", "schedule=mnist_caffe"][::order])
    assert settings.schedule == compose(["schedule=mnist_caffe"]).schedule


def test_an_experiment_overrides_the_data_sets_pairing() -> None:
    settings = compose(["experiment=caffe_mnist"])
    assert settings.model.name == "caffe_mnist"
    assert settings.schedule == compose(["schedule=mnist_caffe"]).schedule


@pytest.mark.parametrize("order", [1, -1])
def test_the_command_line_overrides_an_experiments_groups(order: int) -> None:
    settings = compose(["experiment=caffe_cifar10", "model=cifar10", "schedule=cifar10_paper"][::order])
    assert settings.model.name == "cifar10"
    assert settings.schedule == compose(["schedule=cifar10_paper"]).schedule


@pytest.mark.parametrize("order", [1, -1])
def test_the_command_line_overrides_an_experiments_keys(order: int) -> None:
    settings = compose(["experiment=caffe_mnist", "loss.m=3", "dataset.mean=channel"][::order])
    assert (settings.loss.m, settings.dataset.mean) == (3, "channel")


@pytest.mark.parametrize("order", [1, -1])
def test_the_command_line_overrides_an_experiments_data_set(order: int) -> None:
    settings = compose(["experiment=cifar10_cpu", "dataset=cifar100"][::order])
    assert (settings.dataset.name, settings.model.name, settings.model.width) == ("cifar100", "cifar100", 0.25)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_can_be_run_with_the_baseline_beside_it(name: str) -> None:
    assert compose([f"experiment={name}", "loss=softmax"]).loss.name == "softmax"


def test_a_debug_recipe_stands_above_an_experiment() -> None:
    assert compose(["debug=smoke", "experiment=cifar10_cpu"]).schedule.steps == 20


def test_the_command_line_stands_above_a_debug_recipe() -> None:
    assert compose(["schedule.steps=7", "debug=smoke"]).schedule.steps == 7


@pytest.mark.parametrize("group", ["experiment", "debug"])
def test_an_optional_group_can_be_named_null(group: str) -> None:
    assert compose([f"{group}=null"]) == compose()


@pytest.mark.parametrize("debug", ["smoke", "overfit"])
def test_in_a_debug_run_the_rate_falls_before_the_end(debug: str) -> None:
    schedule = compose([f"debug={debug}"]).schedule
    assert schedule.lr.milestones[-1] < schedule.steps


def test_narrow_networks_differ_from_the_full_ones_in_width_alone() -> None:
    for name in ("mnist", "face"):
        full, narrow = (asdict(compose([f"model={file}"]).model) for file in (name, f"{name}_narrow"))
        assert {**full, "width": 0.25} == narrow


def test_the_fast_trainer_asks_for_all_that_is_fast_and_nothing_else() -> None:
    default, fast = (asdict(compose([f"trainer={name}"]).trainer) for name in ("default", "fast"))
    changed = {key: value for key, value in fast.items() if value != default[key]}
    assert changed == {"precision": "bf16", "channels_last": True, "compile": True, "deterministic": False}


@pytest.mark.parametrize("group", GROUPS)
def test_an_unknown_member_of_a_group_lists_the_members(group: str) -> None:
    members = [choice.removeprefix(f"{group}=") for choice in FILES if choice.startswith(f"{group}=")]
    with pytest.raises(ConfigError) as error:
        compose([f"{group}=nope"])
    assert str(error.value) == f"{group}=nope: there is no such config; choose one of {', '.join(members)}"
