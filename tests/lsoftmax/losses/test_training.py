"""Every loss through the real chain, from the command line's options to a trained network, on a handful of images."""

from pathlib import Path
from typing import Any

import pytest
import torch

from assemble import load_data, make_trainer
from configs import compose
from data import training_mean
from lsoftmax.engine.signals import StopRequest
from lsoftmax.losses import LOSSES

SMALL = ["dataset=synthetic", "dataset.like=mnist", "dataset.train_images=16", "dataset.test_images=4", "model=mnist"]
SMALL += ["dataset.classes=4", "model.width=0.1", "device=cpu", "schedule.steps=40", "schedule.batch_size=16"]
SMALL += ["schedule.lr.base=0.03", "schedule.lr.milestones=[30]", "schedule.lam.kind=constant", "schedule.lam.base=5"]
SMALL += ["trainer.log_every=1", "trainer.eval_every=40"]


class Lines(list[dict[str, Any]]):
    """A log that keeps what it is given."""

    def write(self, record: dict[str, Any]) -> None:
        self.append(record)

    def say(self, text: str) -> None: ...

    def tick(self, step: int) -> None: ...


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Lines]:
    return {name: train(name, tmp_path_factory.mktemp(name)) for name in LOSSES}


def train(name: str, path: Path) -> Lines:
    settings = compose([*SMALL, f"loss={name}"])
    splits = load_data(settings)
    mean = training_mean(splits.train.images, settings.dataset.mean)
    trainer = make_trainer(settings, splits, mean, torch.device("cpu"), path / "checkpoint.pt")
    trainer.run(lines := Lines(), StopRequest())  # type: ignore[arg-type]
    return lines


@pytest.mark.parametrize("name", LOSSES)
def test_a_run_learns_its_images_by_heart(runs, name):
    assert runs[name][-1]["train_error"] == 0


@pytest.mark.parametrize("name", LOSSES)
def test_a_run_lowers_its_loss(runs, name):
    assert runs[name][-1]["loss"] < 0.5 * runs[name][0]["loss"]


@pytest.mark.parametrize("name", LOSSES)
def test_the_log_has_lambda_where_the_loss_does_and_null_elsewhere(runs, name):
    assert {line["lam"] for line in runs[name]} == ({5.0} if name in ("lsoftmax", "asoftmax") else {None})


@pytest.mark.parametrize("name", LOSSES)
def test_a_run_is_repeated_to_the_last_bit(runs, name, tmp_path):
    once, again = ([line["loss"] for line in run] for run in (runs[name], train(name, tmp_path)))
    assert once == again
