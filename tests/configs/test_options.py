"""No dead option: each key reaches what it is for."""

from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import torch

import data
from assemble import build_network, evaluation_batches, load_data, make_plan, make_trainer
from configs import ConfigError, compose
from configs.schema import LOSSES, Schedule, Settings, Trainer, all_keys
from data import ImageSet, Splits, training_mean
from lsoftmax import AdaptiveLambda, PiecewiseLR, PlateauLR

CPU = torch.device("cpu")
SMALL = ["dataset=synthetic", "dataset.train_images=40", "dataset.test_images=10", "model.width=0.05", "loss.m=2"]
SMALL += ["schedule.batch_size=8", "dataset.like=mnist", "model=mnist", "dataset.classes=4", "schedule=cifar10_paper"]


@pytest.fixture(scope="module")
def small() -> Settings:
    return compose(SMALL)


def changed(*overrides: str) -> Settings:
    return compose([*SMALL, *overrides])


# Schedule: what the trainer will be told


def told(settings: Settings) -> list[Any]:
    plan = make_plan(settings)
    steps = (0, 1, 5, 50, 700, 13_000)
    numbers = [plan.steps, plan.batch_size, plan.momentum, plan.weight_decay, plan.classifier_lr_factor]
    lambdas = follow(plan.lam) if isinstance(plan.lam, AdaptiveLambda) else [plan.lam(step) for step in steps]
    rates = look(plan.lr) if isinstance(plan.lr, PlateauLR) else [plan.lr(step) for step in steps]
    return [*numbers, plan.classifier_weight_decay, *rates, *lambdas]


def look(lr: PlateauLR) -> list[float]:
    """At the beginning, and after looks at an error that does not fall."""
    rates = [lr(0)]
    for step in range(0, 8000, 500):
        if lr.is_due(step):
            lr.update(step, 1.0)
        rates.append(lr(step))
    return rates


def follow(lam: AdaptiveLambda) -> list[float]:
    """At the beginning, and after a batch whose samples need 0 to 9."""
    first = float(lam.lam)
    lam.update(torch.arange(10.0))
    return [first, float(lam.lam)]


SCHEDULE = {
    "schedule.steps": "7",
    "schedule.batch_size": "9",
    "schedule.lr.kind": "plateau",
    "schedule.lr.base": "0.2",
    "schedule.lr.milestones": "[5]",
    "schedule.lr.factor": "0.5",
    "schedule.lr.every": "2000",
    "schedule.lr.patience": "0",
    "schedule.lr.minimum": "0.05",
    "schedule.lam.kind": "constant",
    "schedule.lam.base": "7",
    "schedule.lam.gamma": "0.1",
    "schedule.lam.power": "1",
    "schedule.lam.minimum": "500",
    "schedule.lam.delay": "10",
    "schedule.lam.accuracy": "0.9",
    "schedule.lam.rate": "0.5",
    "schedule.momentum": "0.5",
    "schedule.weight_decay": "0.1",
    "schedule.classifier.lr_factor": "2",
    "schedule.classifier.weight_decay": "0.2",
}


def test_every_key_of_the_schedule_is_changed_below() -> None:
    assert set(SCHEDULE) == {key for key in all_keys() if key.startswith("schedule.")}


ADAPTIVE = "schedule.lam.kind=adaptive"
OF_ADAPTIVE = ("schedule.lam.accuracy", "schedule.lam.rate")
PLATEAU = ("schedule.lr.kind=plateau", "dataset.validation=4")
OF_PLATEAU = ("schedule.lr.every", "schedule.lr.patience", "schedule.lr.minimum")
BY_STEP = [key for key in SCHEDULE if key not in (*OF_ADAPTIVE, *OF_PLATEAU, "schedule.lr.kind")]


def test_the_rate_may_be_by_step_or_by_plateau(small: Settings) -> None:
    assert isinstance(make_plan(changed(*PLATEAU)).lr, PlateauLR) and isinstance(make_plan(small).lr, PiecewiseLR)


@pytest.mark.parametrize("key", [*OF_PLATEAU, "schedule.lr.base", "schedule.lr.factor"])
def test_every_key_of_a_plateau_reaches_the_plan(key: str) -> None:
    assert told(changed(*PLATEAU, f"{key}={SCHEDULE[key]}")) != told(changed(*PLATEAU))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["schedule.lr.kind=plateau"], "kind=plateau looks at held-out data: dataset.validation must be > 0"),
        ([*PLATEAU, "schedule.lr.factor=1"], "schedule.lr.factor must be < 1 for schedule.lr.kind=plateau, got 1.0"),
        ([*PLATEAU, "schedule.lr.minimum=0.5"], "schedule.lr.minimum must be <= schedule.lr.base 0.1, got 0.5"),
    ],
)
def test_what_a_plateau_cannot_be_is_one_line(options: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"{message}$"):
        changed(*options)


@pytest.mark.parametrize("key", BY_STEP)
def test_every_key_of_the_schedule_reaches_the_plan(small: Settings, key: str) -> None:
    assert told(changed(f"{key}={SCHEDULE[key]}")) != told(small)


@pytest.mark.parametrize("key", [*OF_ADAPTIVE, "schedule.lam.base", "schedule.lam.minimum"])
def test_every_key_of_an_adaptive_lambda_reaches_the_plan(key: str) -> None:
    option = {**SCHEDULE, "schedule.lam.minimum": "950"}[key]  # the first step after 1000 stays above 500
    assert told(changed(ADAPTIVE, f"{key}={option}")) != told(changed(ADAPTIVE))


@pytest.mark.parametrize(("base", "minimum", "lam"), [(1000, 0, 1000), (7, 0, 7), (7, 9, 9), (5000, 0, 5000)])
def test_an_adaptive_lambda_begins_at_its_base(base: float, minimum: float, lam: float) -> None:
    plan = make_plan(changed(ADAPTIVE, f"schedule.lam.base={base}", f"schedule.lam.minimum={minimum}"))
    assert isinstance(plan.lam, AdaptiveLambda) and float(plan.lam.lam) == pytest.approx(lam)


def test_an_adaptive_lambda_that_begins_low_may_rise() -> None:
    lam = make_plan(changed(ADAPTIVE, "schedule.lam.base=1", "schedule.lam.rate=1")).lam
    assert isinstance(lam, AdaptiveLambda)
    lam.update(torch.full((3,), torch.inf))
    assert float(lam.lam) == pytest.approx(1000)


def test_two_plans_share_no_controller() -> None:
    assert make_plan(changed(ADAPTIVE)).lam is not make_plan(changed(ADAPTIVE)).lam


@pytest.mark.parametrize("key", ["schedule.lam.base", "schedule.lam.minimum"])
def test_an_infinite_adaptive_lambda_is_one_line(key: str) -> None:
    with pytest.raises(ConfigError, match=f"^{key} must be finite for schedule.lam.kind=adaptive, got inf$"):
        changed(ADAPTIVE, f"{key}=inf")


def test_a_constant_lambda_is_its_base() -> None:
    lam = make_plan(changed("schedule.lam.kind=constant", "schedule.lam.base=3")).lam
    assert [lam(step) for step in (0, 1, 10_000)] == [3, 3, 3]


def test_a_lambda_with_base_0_is_none() -> None:
    lam = make_plan(changed("schedule.lam.base=0")).lam
    assert [lam(step) for step in (0, 10_000)] == [0, 0]


def test_the_plan_has_no_option_that_the_schedule_lacks() -> None:
    assert len(asdict(make_plan(compose()))) == 8
    assert {item for item in asdict(compose().schedule)} == set(Schedule.__dataclass_fields__)


# Data


def splits_of(settings: Settings) -> Splits:
    return load_data(settings)


def first_batch(settings: Settings) -> torch.Tensor:
    splits = load_data(settings)
    mean = training_mean(splits.train.images, settings.dataset.mean)
    trainer = make_trainer(settings, splits, mean, CPU, Path("unused"))
    return trainer.loader.batch(0)[0]


BATCH = ["dataset.augment=mirror", "dataset.augment=crop_mirror", "dataset.mean=channel", "dataset.mean=127.5"]
BATCH += ["dataset.scale=255", "seed=1"]


@pytest.mark.parametrize("option", BATCH)
def test_what_concerns_a_batch_changes_the_first_one(small: Settings, option: str) -> None:
    assert not torch.equal(first_batch(changed(option)), first_batch(small))


def test_the_scale_divides_and_the_mean_is_subtracted(small: Settings) -> None:
    shifted = first_batch(changed("dataset.mean=100", "dataset.scale=50"))
    raw = first_batch(changed("dataset.mean=0"))
    torch.testing.assert_close(shifted, (raw - 100) / 50)


def test_evaluation_is_prepared_as_training_and_not_augmented(small: Settings) -> None:
    settings = changed("dataset.mean=100", "dataset.scale=50", "dataset.augment=crop_mirror")
    splits = load_data(settings)
    images, _ = next(iter(evaluation_batches(settings, splits.test, torch.tensor(100.0), CPU)()))
    torch.testing.assert_close(images, (splits.test.images.float() - 100) / 50)


def test_validation_images_are_set_apart_and_evaluated(small: Settings) -> None:
    splits = splits_of(changed("dataset.validation=12"))
    assert splits.val is not None and (len(splits.val), len(splits.train)) == (12, 40)
    mean = training_mean(splits.train.images, "image")
    assert set(make_trainer(small, splits, mean, CPU, Path("unused")).sets) == {"train", "val", "test"}


def test_fewer_images_and_classes_are_what_the_network_sees(small: Settings) -> None:
    splits = splits_of(changed("dataset.train_images=16", "dataset.classes=3", "dataset.test_images=6"))
    assert (len(splits.train), len(splits.test), splits.train.num_classes) == (16, 6, 3)
    _, criterion = build_network(small, splits.train, CPU)
    assert criterion.weight.shape[0] == 3


@pytest.mark.parametrize(("like", "shape"), [("mnist", (1, 28, 28)), ("cifar10", (3, 32, 32)), ("face", (3, 112, 96))])
def test_synthetic_images_have_the_shape_of_what_they_are_like(like: str, shape: tuple[int, ...]) -> None:
    assert splits_of(changed(f"dataset.like={like}")).train.image_shape == shape


@pytest.mark.parametrize(
    ("overrides", "name", "value"),
    [
        (["data_root=/some/where"], "root", "/some/where"),
        (["data_download=false"], "download", False),
        (["dataset.check_integrity=false"], "check_integrity", False),
        (["dataset.validation=5"], "validation", 5),
        (["dataset=cifar10+"], "name", "cifar10+"),
    ],
)
def test_where_data_come_from_reaches_the_reader(
    monkeypatch: pytest.MonkeyPatch, overrides: list[str], name: str, value: Any
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(data, "load", lambda name, root, **options: asked.update(options, name=name, root=root))
    load_data(compose(overrides))
    assert asked[name] == value


# Network and loss


def network(settings: Settings, images: ImageSet) -> tuple[str, list[tuple[int, ...]], Any]:
    backbone, criterion = build_network(settings, images, CPU)
    shapes = [tuple(parameter.shape) for parameter in backbone.parameters()]
    features = backbone.eval()(torch.ones(2, *images.image_shape))
    return repr(backbone), shapes, (tuple(features.shape), criterion)


NETWORK = {
    "model.name": "mnist_2d",
    "model.width": "0.1",
    "model.activation": "relu",
    "model.pooling": "floor",
    "model.after_fc": "none",
    "model.filters": "[10,20,30,40]",
    "model.input_size": "[16,16]",
}


@pytest.fixture(scope="module")
def images(small: Settings) -> ImageSet:
    return load_data(small).train


def test_every_key_of_the_model_is_changed_below() -> None:
    assert set(NETWORK) == {key for key in all_keys() if key.startswith("model.")}


@pytest.mark.parametrize("key", NETWORK)
def test_every_key_of_the_model_changes_the_network(small: Settings, images: ImageSet, key: str) -> None:
    assert network(changed(f"{key}={NETWORK[key]}"), images)[0] != network(small, images)[0]


LOSS = {
    "loss=lsoftmax": {"m": 3, "gradient": "detached"},
    "loss=asoftmax": {"m": 3, "gradient": "detached"},
    "loss=hinge": {"form": "crammer_singer", "norm": "l2"},
    "loss=contrastive": {"margin": 3.5, "balance": 0.7},
    "loss=triplet": {"margin": 0.3, "balance": 0.7},
    "loss=cosface": {"m": 0.1, "s": 12.5},
    "loss=arcface": {"m": 0.1, "s": 12.5},
}


def test_every_key_of_every_loss_is_set_below() -> None:
    keys = {f"loss={name}": {item.name for item in fields(cls)} - {"name"} for name, cls in LOSSES.items()}
    assert {choice: set(values) for choice, values in LOSS.items()} == {key: has for key, has in keys.items() if has}


@pytest.mark.parametrize("choice", LOSS)
def test_every_key_of_a_loss_reaches_it(choice: str, images: ImageSet) -> None:
    without_m = [option for option in SMALL if option != "loss.m=2"]
    settings = compose([*without_m, choice, *(f"loss.{key}={value}" for key, value in LOSS[choice].items())])
    _, criterion = build_network(settings, images, CPU)
    assert {key: getattr(criterion, key) for key in LOSS[choice]} == LOSS[choice]


def test_the_seed_makes_the_weights(images: ImageSet) -> None:
    def weights(seed: int) -> torch.Tensor:
        backbone, criterion = build_network(changed(f"seed={seed}"), images, CPU)
        return torch.cat([p.detach().flatten() for p in (*backbone.parameters(), *criterion.parameters())])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


# Trainer

TRAINER: dict[str, Any] = {
    "log_every": 3,
    "eval_every": 4,
    "checkpoint_every": 5,
    "checkpoint_minutes": 6.5,
    "eval_batch_size": 7,
    "precision": "bf16",
    "channels_last": True,
    "compile": True,
    "deterministic": False,
    "on_divergence": "raise_lambda",
    "max_restarts": 8,
    "keep_checkpoint": True,
    "overwrite": True,
}


def test_every_key_of_the_trainer_is_set_below() -> None:
    assert set(TRAINER) == set(Trainer.__dataclass_fields__)


def test_every_key_of_the_trainer_reaches_it(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)  # takes seconds and warns of itself
    settings = changed(*(f"trainer.{key}={str(value).lower()}" for key, value in TRAINER.items()))
    trainer = make_trainer(settings, Splits(images, None, images), torch.zeros(1), CPU, Path("unused"))
    assert asdict(trainer.options) == TRAINER


def test_evaluation_takes_as_many_images_at_a_time_as_asked(images: ImageSet) -> None:
    batches = evaluation_batches(changed("trainer.eval_batch_size=15"), images, torch.zeros(1), CPU)
    assert [len(labels) for _, labels in batches()] == [15, 15, 10]


def test_two_runs_of_the_same_settings_start_alike(small: Settings, images: ImageSet) -> None:
    make: Callable[[], Any] = lambda: build_network(small, images, CPU)[1].weight  # noqa: E731
    assert torch.equal(make(), make())
