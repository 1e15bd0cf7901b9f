"""train.py from end to end: the run folder, what a second command does, and how a run can end.

Two runs are whole processes; the others are made in this one.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import models
import train
from assemble import load_data, make_trainer
from configs import ROOT, compose
from configs.settings import from_file, identity
from lsoftmax.engine.folder import identity_sha256
from lsoftmax.engine.weights import read_weights
from lsoftmax.schedule import LambdaSchedule

LEFT = {"config.yaml", "metrics.jsonl", "model.safetensors", "result.json"}  # and one events.out.tfevents.*
HEAVY = ("torchvision", "mlxtend", "matplotlib", "sklearn", "scipy", "pandas", "pytorch_metric_learning")
SHOW = f"""
import runpy, sys
try:
    runpy.run_path({str(ROOT / "train.py")!r}, run_name="__main__")
finally:
    print("MODULES", *sorted(set({HEAVY!r}) & sys.modules.keys()))
"""
Options = tuple[str, ...]
Command = Callable[..., Any]
Result = Callable[[Path], dict[str, Any]]
Smoke = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    """`python train.py debug=smoke`, from another working folder, on the embedded digits."""
    folder = tmp_path_factory.mktemp("smoke")
    path = folder / "run"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    code = [sys.executable, "-c", SHOW, "debug=smoke", f"run_dir={path}", "device=cpu"]
    done = subprocess.run(code, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    return path, done


def files(path: Path) -> dict[str, bytes]:
    return {item.name: item.read_bytes() for item in path.iterdir() if item.name != ".lock"}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_each_seed_has_an_order_of_its_own(tmp_path: Path) -> None:
    settings = compose(["debug=smoke", "device=cpu"])
    splits, device = load_data(settings), torch.device("cpu")
    orders = [
        make_trainer(replace(settings, seed=seed), splits, torch.zeros(1, 1, 1), device, tmp_path / "none").loader
        for seed in (0, 1)
    ]
    assert not torch.equal(orders[0]._indices(0), orders[1]._indices(0))


def test_the_parameters_of_a_result_are_those_of_network_and_classifier(first: Path, result: Result) -> None:
    weights, _ = read_weights(first / "model.safetensors")
    buffers = ("running_mean", "running_var", "num_batches_tracked", "input.mean", "input.scale")
    learned = {name: values.numel() for name, values in weights.items() if not name.endswith(buffers)}
    assert result(first)["parameters"] == sum(learned.values())


def test_the_multiply_adds_of_a_result_are_those_of_network_and_classifier(first: Path, result: Result) -> None:
    settings = from_file(first / "config.yaml")
    images = load_data(settings).train
    network = models.build(image_shape=images.image_shape, **asdict(settings.model))
    expected = models.multiply_adds(network, images.image_shape) + network.feature_size * images.num_classes
    assert result(first)["multiply_adds"] == expected


def test_a_smoke_run_ends_well_and_silently(smoke: Smoke) -> None:
    _, done = smoke
    assert (done.returncode, done.stderr) == (0, "")


def test_a_run_leaves_exactly_the_files_of_the_contract(smoke: Smoke) -> None:
    names = set(files(smoke[0]))
    events = {name for name in names if name.startswith("events.out.tfevents.")}
    assert names - events == LEFT and len(events) == 1


def test_a_run_writes_nowhere_else(smoke: Smoke) -> None:
    assert [path.name for path in smoke[0].parent.iterdir()] == ["run"]


def test_a_default_run_imports_nothing_that_it_does_not_need(smoke: Smoke) -> None:
    assert smoke[1].stdout.splitlines()[-1] == "MODULES"


def test_the_summary_says_error_folder_curves_and_what_to_type_next(smoke: Smoke, result: Result) -> None:
    path, done = smoke
    error = result(path)["test_error"]
    for words in (f"test error   {error:.2f} %", "run", "tensorboard --logdir run", "scripts/evaluate.py run=run"):
        assert words in done.stdout
    assert "train.py dataset=mnist5k loss=softmax" not in done.stdout  # that would be another problem than the smoke's


def test_the_summary_of_a_default_run_offers_the_comparison() -> None:
    settings = compose(["loss.m=3"])
    ended = {"status": "finished", "test_error": 1.0, "train_error": 0.0, "seconds": 9.0}
    assert "train.py dataset=mnist5k loss=softmax" in train.summary(settings, ended, Path("run"))


def test_the_summary_of_another_schedule_offers_no_comparison() -> None:
    ended = {"status": "finished", "test_error": 1.0, "train_error": 0.0, "seconds": 9.0}
    assert "compare " not in train.summary(compose(["schedule.steps=7000"]), ended, Path("run"))


def test_the_summary_says_the_error_to_choose_by_first() -> None:
    ended = {"status": "finished", "val_error": 1.5, "test_error": 1.0, "train_error": 0.0, "seconds": 9.0}
    said = train.summary(compose(["dataset.validation=100"]), ended, Path("run")).split("\n")
    assert said[1].startswith("val error    1.50 %") and said[2].startswith("test error   1.00 %")


def test_the_summary_has_the_error_in_training_and_the_time_beside_the_test_error() -> None:
    ended = {"status": "finished", "test_error": 1.5, "train_error": 0.25, "seconds": 9.4}
    assert "\ntest error   1.50 %   (train 0.25 %, 9 s)\n" in train.summary(compose([]), ended, Path("run"))


def test_the_summary_of_a_diverged_run_names_the_step_that_ended_it() -> None:
    ended = {"status": "diverged", "divergences": [{"step": 7}, {"step": 12}]}
    assert "diverged at step 12 and has no test error" in train.summary(compose([]), ended, Path("run"))


def test_the_headline_says_what_is_about_to_run() -> None:
    half = compose(["model.width=0.5", "loss.m=3", "schedule.steps=2000", "schedule.batch_size=64"])
    said = train.headline(half, {"parameters": 12_345}, "cpu")
    assert said == "mnist5k | mnist network x 0.5, 12,345 parameters | lsoftmax m=3 | 2,000 steps of 64 | cpu, fp32"


def test_the_headline_tells_neither_a_width_of_1_nor_a_margin_that_is_not_there() -> None:
    said = train.headline(compose(["loss=softmax", "model.width=1"]), {"parameters": 7}, "cpu").split(" | ")
    assert said[1:3] == ["mnist network, 7 parameters", "softmax"]


@pytest.mark.parametrize("collapsed", [True, False])
def test_the_summary_says_whether_a_run_collapsed(collapsed: bool) -> None:
    ended = {"status": "finished", "test_error": 90.0, "train_error": 90.0, "seconds": 9.0, "collapsed": collapsed}
    assert ("collapsed    " in train.summary(compose([]), ended, Path("run"))) is collapsed


def test_the_config_file_reads_back_as_what_was_asked(smoke: Smoke) -> None:
    path, _ = smoke
    there = from_file(path / "config.yaml")
    assert there == compose(["debug=smoke", f"run_dir={path}"])


def test_the_result_is_complete(smoke: Smoke, result: Result) -> None:
    expected = "status dataset model loss schedule seed steps test_error train_error val_error wrong predicted_classes"
    expected += " verification num_classes parameters multiply_adds curve restarts divergences seconds images_per_s"
    expected += " precision compile threads device versions config_sha256 dataset_sha256"
    assert set(expected.split()) <= result(smoke[0]).keys()


def test_the_result_says_what_was_asked(smoke: Smoke, result: Result) -> None:
    asked = identity(compose(["debug=smoke"]))
    there = result(smoke[0])
    assert {key: there[key] for key in asked} == asked
    assert there["config_sha256"] == identity_sha256(asked)


def test_the_weights_file_says_what_it_is(smoke: Smoke) -> None:
    tensors, metadata = read_weights(smoke[0] / "model.safetensors")
    assert metadata["dataset"]["name"] == "mnist5k" and metadata["num_classes"] == 10 and metadata["mean"] == "image"
    assert metadata["model"]["name"] == "mnist" and metadata["loss"]["m"] == 4
    assert tensors["input.mean"].shape == (1, 28, 28)


def test_lambda_and_rate_in_the_metrics_are_those_of_the_step(smoke: Smoke) -> None:
    schedule = compose(["debug=smoke"]).schedule
    lam = LambdaSchedule(schedule.lam.base, schedule.lam.gamma, schedule.lam.power)
    logged = lines(smoke[0])
    assert [line["step"] for line in logged] == [5, 10, 15, 20]
    assert [line["lam"] for line in logged] == [lam(line["step"] - 1) for line in logged]  # the 5th step is step 4
    assert [line["lr"] for line in logged] == pytest.approx([0.1, 0.1, 0.01, 0.001])


def test_the_error_in_the_metrics_is_the_results(smoke: Smoke, result: Result) -> None:
    assert [line.get("test_error") for line in lines(smoke[0])][-1] == result(smoke[0])["test_error"]


def test_the_same_command_again_says_that_it_has_ended(smoke: Smoke, command: Command) -> None:
    path, _ = smoke
    before = files(path)
    done = command("debug=smoke", f"run_dir={path}")
    assert done.code == 0 and "ended already" in done.out
    assert files(path) == before  # the seconds that it took are in them


def test_another_device_and_other_trainer_options_find_the_same_run(
    ended: Path, command: Command, tiny: Options
) -> None:
    before = files(ended)
    done = command(*tiny, f"run_dir={ended}", "device=auto", "trainer.eval_every=2", "data_download=false")
    assert done.code == 0 and files(ended) == before


def test_another_configuration_in_the_same_folder_is_refused_with_the_difference(
    ended: Path, command: Command, tiny: Options
) -> None:
    before = files(ended)
    done = command(*tiny, "loss.m=3", "schedule.lr.base=0.2", f"run_dir={ended}")
    assert done.is_users_mistake()
    assert "loss.m is 2 there, 3 asked" in done.err and "schedule.lr.base is 0.1 there, 0.2 asked" in done.err
    assert files(ended) == before


def test_overwrite_does_a_run_again(ended: Path, command: Command, tiny: Options, result: Result) -> None:
    assert command(*tiny, "loss.m=3", f"run_dir={ended}", "trainer.overwrite=true").code == 0
    assert result(ended)["loss"]["m"] == 3
    assert len(files(ended)) == len(LEFT) + 1


def test_keep_checkpoint_keeps_it(command: Command, tmp_path: Path, tiny: Options) -> None:
    assert command(*tiny, f"run_dir={tmp_path / 'run'}", "trainer.keep_checkpoint=true").code == 0
    assert (tmp_path / "run" / "checkpoint.pt").exists()


@pytest.mark.parametrize("left", [("checkpoint.pt", "anchor.pt"), ("anchor.pt",)])
def test_a_run_killed_between_its_result_and_its_checkpoint_leaves_none(
    ended: Path, command: Command, tiny: Options, left: Options
) -> None:
    for name in left:
        (ended / name).write_bytes(b"left behind")
    assert command(*tiny, f"run_dir={ended}").code == 0
    assert not (ended / "checkpoint.pt").exists() and not (ended / "anchor.pt").exists()


@pytest.mark.parametrize("now", ["true", "false"])
def test_a_checkpoint_that_was_to_be_kept_stays_when_the_run_is_asked_for_again(
    command: Command, tmp_path: Path, tiny: Options, now: str
) -> None:
    assert command(*tiny, f"run_dir={tmp_path / 'run'}", "trainer.keep_checkpoint=true").code == 0
    assert command(*tiny, f"run_dir={tmp_path / 'run'}", f"trainer.keep_checkpoint={now}").code == 0
    assert (tmp_path / "run" / "checkpoint.pt").exists()


@pytest.mark.parametrize("option", ["trainer.deterministic=false", "trainer.precision=bf16"])
def test_how_a_run_is_executed_is_in_its_result(
    command: Command, tmp_path: Path, option: str, tiny: Options, result: Result
) -> None:
    assert command(*tiny, f"run_dir={tmp_path / 'run'}", option).code == 0
    key, value = option.removeprefix("trainer.").split("=")
    assert str(result(tmp_path / "run")[key]).lower() == value


def test_the_deterministic_switch_reaches_torch(command: Command, tmp_path: Path, tiny: Options) -> None:
    command(*tiny, f"run_dir={tmp_path / 'a'}")
    assert torch.are_deterministic_algorithms_enabled()
    command(*tiny, f"run_dir={tmp_path / 'b'}", "trainer.deterministic=false")
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_same_command_gives_the_same_weights(command: Command, tmp_path: Path, tiny: Options) -> None:
    for name in ("a", "b"):
        command(*tiny, f"run_dir={tmp_path / name}")
    a, b = (read_weights(tmp_path / name / "model.safetensors")[0] for name in ("a", "b"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_that_diverges_is_code_3_and_says_so(
    command: Command, tmp_path: Path, tiny: Options, result: Result
) -> None:
    options = [*tiny, "schedule.lr.base=1e30", f"run_dir={tmp_path / 'run'}"]
    done = command(*options)
    assert (done.code, result(tmp_path / "run")["status"]) == (3, "diverged")
    assert "diverged" in done.out
    assert set(files(tmp_path / "run")) & {"model.safetensors"} == set()
    assert command(*options).code == 3  # and is not done again


@pytest.mark.parametrize("key", ["base", "minimum"])
def test_an_infinite_lambda_is_a_run_without_a_margin(
    command: Command, tmp_path: Path, key: str, tiny: Options, result: Result
) -> None:
    options = ["schedule=cifar10_paper", f"schedule.lam.{key}=inf", f"run_dir={tmp_path / 'run'}"]
    assert command(*tiny, *options).code == 0
    assert result(tmp_path / "run")["status"] == "finished"


@pytest.mark.parametrize("output", [">/dev/full", ">&-", "2>&- >&-"])
def test_an_output_that_cannot_be_written_does_not_stop_a_run(
    tmp_path: Path, tiny: Options, result: Result, output: str
) -> None:
    command = shlex.join([sys.executable, str(ROOT / "train.py"), *tiny, f"run_dir={tmp_path / 'run'}"])
    done = subprocess.run(f"{command} {output}", shell=True, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert result(tmp_path / "run")["status"] == "finished"


def test_the_commands_of_the_summary_can_be_typed(tmp_path: Path, command: Command, tiny: Options) -> None:
    path = tmp_path / "a run"
    said = command(*tiny, f"run_dir={path}").out
    for line in ("curves", "by class"):
        [shown] = [text.removeprefix(line) for text in said.splitlines() if text.startswith(line)]
        assert shlex.split(shown)[-1].removeprefix("run=") == str(path)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["lsoftmax", "softmax"])
@pytest.mark.parametrize("seed", [0, 1])
def test_debug_overfit_learns_its_images_by_heart(command: Command, tmp_path: Path, loss: str, seed: int) -> None:
    path = tmp_path / "run"
    assert command("debug=overfit", f"loss={loss}", f"seed={seed}", "device=cpu", f"run_dir={path}").code == 0
    assert json.loads((path / "result.json").read_text())["train_error"] == 0


def test_what_the_environment_says_of_the_data_does_not_matter_where_an_option_says_it(
    command: Command, tmp_path: Path, tiny: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSOFTMAX_DATA", "~nobody_of_this_name/data")
    for _ in range(2):
        assert command(*tiny, f"data_root={tmp_path}", f"run_dir={tmp_path / 'run'}").code == 0


def test_a_graph_that_cannot_be_recorded_is_said(command: Command, tmp_path: Path, tiny: Options) -> None:
    done = command(*tiny, "trainer.cuda_graph=true", "device=cpu", f"run_dir={tmp_path / 'run'}")
    assert done.code == 0 and "warning: trainer.cuda_graph=true needs a GPU" in done.out
