"""Every data set with every network: two steps on synthetic images, and then a test error."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from assemble import load_data, make_trainer
from configs import ROOT, compose
from configs.schema import LOSSES, Settings
from data import training_mean
from lsoftmax.engine.signals import StopRequest

LIKE = {"mnist5k": "mnist", "mnist": "mnist", "cifar10": "cifar10", "cifar10+": "cifar10", "cifar100": "cifar100"}
MODELS = sorted(path.stem for path in Path(ROOT, "configs", "model").glob("*.yaml"))
SMALL = [
    "model.width=0.03",
    "schedule.steps=2",
    "schedule.batch_size=4",
    "dataset.train_images=20",
    "dataset.classes=2",
    "trainer.log_every=1",
    "device=cpu",
]


class Lines(list[dict[str, Any]]):
    """A log that keeps what it is given."""

    def write(self, record: dict[str, Any]) -> None:
        self.append(record)

    def say(self, text: str) -> None: ...

    def tick(self, step: int) -> None: ...


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train(settings: Settings, path: Path) -> list[dict[str, Any]]:
    splits = load_data(settings)
    mean = training_mean(splits.train.images, settings.dataset.mean)
    trainer = make_trainer(settings, splits, mean, torch.device("cpu"), path / "checkpoint.pt")
    before = [parameter.detach().clone() for parameter in trainer.parameters]
    lines = Lines()
    trainer.run(lines, StopRequest())  # type: ignore[arg-type]
    assert any(not torch.equal(old, new) for old, new in zip(before, trainer.parameters, strict=True))
    return lines


def check(lines: list[dict[str, Any]]) -> None:
    assert [line["step"] for line in lines] == [1, 2]
    assert all(math.isfinite(line["loss"]) for line in lines)
    assert 0 <= lines[-1]["test_error"] <= 100


def standing_in(dataset: str) -> list[str]:
    """The data set's own configuration, its images replaced by synthetic ones of their shape."""
    return [
        f"dataset={dataset}",
        "dataset.name=synthetic",
        f"+dataset.like={LIKE[dataset]}",
        "+dataset.test_images=4",
        *SMALL,
    ]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dataset", LIKE)
def test_a_data_set_trains_every_network_for_two_steps(dataset: str, model: str, tmp_path: Path) -> None:
    check(train(compose([*standing_in(dataset), f"model={model}"]), tmp_path))


@pytest.mark.parametrize("dataset", LIKE)
def test_a_data_set_trains_its_own_network_for_two_steps(dataset: str, tmp_path: Path) -> None:
    check(train(compose(standing_in(dataset)), tmp_path))


@pytest.mark.parametrize("like", ["mnist", "cifar10", "cifar100"])
def test_synthetic_images_train_their_network_for_two_steps(like: str, tmp_path: Path) -> None:
    check(train(compose(["dataset=synthetic", f"dataset.like={like}", "dataset.test_images=4", *SMALL]), tmp_path))


@pytest.mark.parametrize("model", MODELS)
def test_every_network_trains_on_faces_for_two_steps(model: str, tmp_path: Path) -> None:
    faces = ["dataset=synthetic", "dataset.like=face", "dataset.test_images=4", f"model={model}"]
    check(train(compose([*faces, *SMALL]), tmp_path))


@pytest.mark.parametrize("experiment", ["caffe_mnist", "caffe_cifar10", "caffe_cifar10+", "cifar10_cpu"])
def test_every_experiment_trains_for_two_steps(experiment: str, tmp_path: Path) -> None:
    like = "mnist" if "mnist" in experiment else "cifar10"
    standing = ["dataset.name=synthetic", f"+dataset.like={like}", "+dataset.test_images=4"]
    check(train(compose([f"experiment={experiment}", *standing, *SMALL]), tmp_path))


@pytest.mark.parametrize("debug", ["smoke", "overfit"])
def test_every_debug_recipe_trains(debug: str, tmp_path: Path) -> None:
    check(train(compose([f"debug={debug}", *standing_in("mnist5k")]), tmp_path))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("trainer", ["trainer.precision=bf16", "trainer.channels_last=true"])
def test_every_loss_trains_in_every_way(loss: str, trainer: str, tmp_path: Path) -> None:
    check(train(compose([*standing_in("mnist"), f"loss={loss}", trainer]), tmp_path))


def test_the_largest_seed_trains(tmp_path: Path) -> None:
    check(train(compose([*standing_in("cifar10+"), f"seed={2**32 - 1}"]), tmp_path))
