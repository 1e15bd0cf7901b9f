"""No dead option: each key reaches what it is for."""

from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import torch

import data
from assemble import build_network, evaluation_batches, load_data, make_trainer
from configs import compose
from configs.schema import LOSSES, Settings, Trainer, all_keys
from data import ImageSet, Splits, training_mean

from .conftest import SMALL, changed

CPU = torch.device("cpu")


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


def test_other_classes_of_synthetic_images_are_other_images() -> None:
    asked = ("dataset.train_images=16", "dataset.classes=2", "dataset.test_images=6")
    first, others = splits_of(changed(*asked)), splits_of(changed(*asked, "dataset.first_class=2"))
    assert others.test.labels.tolist() == first.test.labels.tolist() and len(others.train) == 16
    assert not torch.equal(others.train.images, first.train.images)


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
    "loss=lsoftmax": {"m": 3, "gradient": "detached", "margin_on": "winners"},
    "loss=asoftmax": {"m": 3, "gradient": "detached", "margin_on": "winners"},
    "loss=hinge": {"form": "crammer_singer", "norm": "l1", "class_reduction": "sum"},
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
    "cuda_graph": True,
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
