"""train.py from the weights of another run."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from assemble import build_network, load_data, make_trainer
from configs import compose
from data import training_mean
from lsoftmax.engine.weights import read_weights

CPU = torch.device("cpu")
Options = tuple[str, ...]
Command = Callable[..., Any]
Result = Callable[[Path], dict[str, Any]]


def start(*options: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The weights that a run would start from, of backbone and criterion."""
    settings = compose(options)
    splits = load_data(settings)
    mean = training_mean(splits.train.images, "image")
    trainer = make_trainer(settings, splits, mean, CPU, Path("unused"))
    return trainer.backbone.state_dict(), trainer.criterion.state_dict()


def test_init_from_starts_from_the_given_runs_weights(ended: Path, tiny: Options) -> None:
    tensors, _ = read_weights(ended / "model.safetensors")
    backbone, criterion = start(*tiny, f"init_from={ended}", "seed=7")
    assert all(torch.equal(value, tensors[f"backbone.{name}"]) for name, value in backbone.items())
    assert torch.equal(criterion["weight"], tensors["criterion.weight"])


def test_without_init_from_a_run_starts_from_its_seed(ended: Path, tiny: Options) -> None:
    settings = compose(tiny)
    backbone, _ = build_network(settings, load_data(settings).train, CPU)
    assert all(torch.equal(value, backbone.state_dict()[name]) for name, value in start(*tiny)[0].items())


def test_a_margin_can_start_from_softmax(command: Command, tmp_path: Path, tiny: Options, result: Result) -> None:
    softmax = [option for option in tiny if option != "loss.m=2"] + ["loss=softmax", f"run_dir={tmp_path / 'first'}"]
    assert command(*softmax).code == 0
    assert command(*tiny, f"init_from={tmp_path / 'first'}", f"run_dir={tmp_path / 'second'}").code == 0
    assert result(tmp_path / "second")["init_from"] == str(tmp_path / "first")


@pytest.fixture
def stopped(command: Command, ended: Path, tmp_path: Path, tiny: Options) -> tuple[str, ...]:
    """The command of a run with init_from that was killed before its result."""
    options = (*tiny, f"init_from={ended}", f"run_dir={tmp_path / 'next'}")
    assert command(*options, "trainer.keep_checkpoint=true").code == 0
    (tmp_path / "next" / "result.json").unlink()
    return options


def test_a_stopped_run_goes_on_without_the_run_that_it_started_from(
    command: Command, ended: Path, stopped: Options
) -> None:
    shutil.rmtree(ended)
    done = command(*stopped)
    assert done.code == 0 and "going on from step 3" in done.out


def test_a_run_begun_anew_needs_the_run_that_it_starts_from(
    command: Command, ended: Path, tmp_path: Path, stopped: Options
) -> None:
    """Where the checkpoint is not the one to go on from."""
    shutil.rmtree(ended)
    path = tmp_path / "next" / "checkpoint.pt"
    torch.save(torch.load(path, weights_only=True) | {"data_sha256": "b" * 64}, path)
    done = command(*stopped, "trainer.overwrite=true")
    assert done.is_users_mistake() and str(ended) in done.err and path.exists()


def test_a_finished_run_with_a_checkpoint_begins_anew_from_the_given_weights(
    command: Command, ended: Path, tmp_path: Path, stopped: Options
) -> None:
    assert command(*stopped, "trainer.keep_checkpoint=true").code == 0
    shutil.rmtree(ended)
    done = command(*stopped, "trainer.overwrite=true")
    assert done.is_users_mistake() and str(ended) in done.err and (tmp_path / "next" / "result.json").exists()


@pytest.mark.parametrize("option", ["model.width=0.1", "dataset.classes=3", "model=cifar100", "model.activation=relu"])
def test_weights_of_another_network_are_refused(command: Command, ended: Path, option: str, tiny: Options) -> None:
    done = command(*tiny, option, f"init_from={ended}", f"run_dir={ended.parent / 'next'}")
    assert done.is_users_mistake()
    assert str(ended) in done.err


def test_a_run_folder_can_be_named_as_it_stands() -> None:
    folder = "outputs/runs/mnist5k/loss=softmax/seed=0"  # the default name of a run has = in it
    assert compose([f"init_from={folder}"]).init_from == folder


def test_the_run_to_start_from_may_be_named_from_home(
    ended: Path, tiny: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(ended.parent))
    tensors, _ = read_weights(ended / "model.safetensors")
    assert torch.equal(start(*tiny, "init_from=~/ended", "seed=7")[1]["weight"], tensors["criterion.weight"])
