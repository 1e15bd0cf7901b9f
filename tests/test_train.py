"""train.py from end to end: the run folder, what a second command does, what a user's mistake comes to.

Two runs are whole processes; the others are made in this one.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import train
from assemble import build_network, load_data, make_trainer
from configs import ROOT, compose
from configs.command import run_command
from configs.settings import from_file, identity
from data import training_mean
from lsoftmax.engine.folder import identity_sha256
from lsoftmax.engine.weights import read_weights
from lsoftmax.schedule import LambdaSchedule

LEFT = {"config.yaml", "metrics.jsonl", "model.safetensors", "result.json"}  # and one events.out.tfevents.*
CPU = torch.device("cpu")
# Tiny: a tenth of a second each. cifar images, as nothing else here has colours.
TINY = ["dataset=synthetic", "dataset.train_images=20", "dataset.test_images=10", "dataset.classes=2", "device=cpu"]
TINY += ["model.width=0.03", "schedule.steps=3", "schedule.batch_size=4", "trainer.log_every=1", "loss.m=2"]
HEAVY = ("torchvision", "mlxtend", "matplotlib", "sklearn", "scipy", "pandas", "pytorch_metric_learning")
SHOW = f"""
import runpy, sys
try:
    runpy.run_path({str(ROOT / "train.py")!r}, run_name="__main__")
finally:
    print("MODULES", *sorted(set({HEAVY!r}) & sys.modules.keys()))
"""


@dataclass
class Done:
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A run sets torch's global switches; the next test finds them as they were."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """command(*overrides): train.py's own job in this process."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        capfd.readouterr()
        code = run_command(train.run)
        captured = capfd.readouterr()
        return Done(code, captured.out, captured.err)

    return run


def process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    code = [sys.executable, "-c", SHOW, *arguments]
    return subprocess.run(code, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """`python train.py debug=smoke`, from another working folder, on the embedded digits."""
    folder = tmp_path_factory.mktemp("smoke")
    path = folder / "run"
    return path, process("debug=smoke", f"run_dir={path}", "device=cpu", cwd=folder)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("first") / "run"
    assert train.run(compose(TINY), path).code == 0
    return path


@pytest.fixture
def ended(first: Path, tmp_path: Path) -> Path:
    """A finished tiny run, a copy of its own for each test."""
    return Path(shutil.copytree(first, tmp_path / "ended"))


def files(path: Path) -> dict[str, bytes]:
    return {item.name: item.read_bytes() for item in path.iterdir() if item.name != ".lock"}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def result(path: Path) -> dict[str, Any]:
    return json.loads((path / "result.json").read_text())


def assert_users_mistake(done: Done) -> None:
    assert done.code == 2
    assert done.err.startswith("error: ") and done.err.count("\n") == 1


Smoke = tuple[Path, subprocess.CompletedProcess[str]]


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


def test_the_summary_says_error_folder_curves_and_what_to_type_next(smoke: Smoke) -> None:
    path, done = smoke
    error = result(path)["test_error"]
    for words in (f"test error   {error:.2f} %", "run", "tensorboard --logdir run", "scripts/evaluate.py run=run"):
        assert words in done.stdout
    assert "train.py dataset=mnist5k loss=softmax" not in done.stdout  # that would be another problem than the smoke's


def test_the_summary_of_a_default_run_offers_the_comparison() -> None:
    settings = compose(["loss.m=3"])
    ended = {"status": "finished", "test_error": 1.0, "train_error": 0.0, "seconds": 9.0}
    assert "train.py dataset=mnist5k loss=softmax" in train.summary(settings, ended, Path("run"))


def test_the_config_file_reads_back_as_what_was_asked(smoke: Smoke) -> None:
    path, _ = smoke
    there = from_file(path / "config.yaml")
    assert there == compose(["debug=smoke", f"run_dir={path}"])


def test_the_result_is_complete(smoke: Smoke) -> None:
    expected = "status dataset model loss schedule seed steps test_error train_error val_error wrong predicted_classes"
    expected += " verification num_classes parameters multiply_adds curve restarts divergences seconds images_per_s"
    expected += " precision compile threads device versions config_sha256 dataset_sha256"
    assert set(expected.split()) <= result(smoke[0]).keys()


def test_the_result_says_what_was_asked(smoke: Smoke) -> None:
    asked = identity(compose(["debug=smoke"]))
    there = result(smoke[0])
    assert {key: there[key] for key in asked} == asked
    assert there["config_sha256"] == identity_sha256(asked)


def test_the_weights_file_says_what_it_is(smoke: Smoke) -> None:
    tensors, metadata = read_weights(smoke[0] / "model.safetensors")
    assert metadata["dataset"]["name"] == "mnist5k" and metadata["num_classes"] == 10
    assert metadata["model"]["name"] == "mnist" and metadata["loss"]["m"] == 4
    assert tensors["input.mean"].shape == (1, 28, 28)


def test_lambda_and_rate_in_the_metrics_are_those_of_the_step(smoke: Smoke) -> None:
    schedule = compose(["debug=smoke"]).schedule
    lam = LambdaSchedule(schedule.lam.base, schedule.lam.gamma, schedule.lam.power)
    logged = lines(smoke[0])
    assert [line["step"] for line in logged] == [5, 10, 15, 20]
    assert [line["lam"] for line in logged] == [lam(line["step"] - 1) for line in logged]  # the 5th step is step 4
    assert [line["lr"] for line in logged] == pytest.approx([0.1, 0.1, 0.01, 0.001])


def test_the_error_in_the_metrics_is_the_results(smoke: Smoke) -> None:
    assert [line.get("test_error") for line in lines(smoke[0])][-1] == result(smoke[0])["test_error"]


def test_the_same_command_again_says_that_it_has_ended(smoke: Smoke, command: Callable[..., Done]) -> None:
    path, _ = smoke
    before = files(path)
    since = time.monotonic()
    done = command("debug=smoke", f"run_dir={path}")
    assert done.code == 0 and "ended already" in done.out
    assert files(path) == before
    assert time.monotonic() - since < 3


def test_another_device_and_other_trainer_options_find_the_same_run(ended: Path, command: Callable[..., Done]) -> None:
    before = files(ended)
    done = command(*TINY, f"run_dir={ended}", "device=auto", "trainer.eval_every=2", "data_download=false")
    assert done.code == 0 and files(ended) == before


def test_another_configuration_in_the_same_folder_is_refused_with_the_difference(
    ended: Path, command: Callable[..., Done]
) -> None:
    before = files(ended)
    done = command(*TINY, "loss.m=3", "schedule.lr.base=0.2", f"run_dir={ended}")
    assert_users_mistake(done)
    assert "loss.m is 2 there, 3 asked" in done.err and "schedule.lr.base is 0.1 there, 0.2 asked" in done.err
    assert files(ended) == before


def test_overwrite_does_a_run_again(ended: Path, command: Callable[..., Done]) -> None:
    assert command(*TINY, "loss.m=3", f"run_dir={ended}", "trainer.overwrite=true").code == 0
    assert result(ended)["loss"]["m"] == 3
    assert len(files(ended)) == len(LEFT) + 1


def test_keep_checkpoint_keeps_it(command: Callable[..., Done], tmp_path: Path) -> None:
    assert command(*TINY, f"run_dir={tmp_path / 'run'}", "trainer.keep_checkpoint=true").code == 0
    assert (tmp_path / "run" / "checkpoint.pt").exists()


@pytest.mark.parametrize("option", ["trainer.deterministic=false", "trainer.precision=bf16"])
def test_how_a_run_is_executed_is_in_its_result(command: Callable[..., Done], tmp_path: Path, option: str) -> None:
    assert command(*TINY, f"run_dir={tmp_path / 'run'}", option).code == 0
    key, value = option.removeprefix("trainer.").split("=")
    assert str(result(tmp_path / "run")[key]).lower() == value


def test_the_deterministic_switch_reaches_torch(command: Callable[..., Done], tmp_path: Path) -> None:
    command(*TINY, f"run_dir={tmp_path / 'a'}")
    assert torch.are_deterministic_algorithms_enabled()
    command(*TINY, f"run_dir={tmp_path / 'b'}", "trainer.deterministic=false")
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_same_command_gives_the_same_weights(command: Callable[..., Done], tmp_path: Path) -> None:
    for name in ("a", "b"):
        command(*TINY, f"run_dir={tmp_path / name}")
    a, b = (read_weights(tmp_path / name / "model.safetensors")[0] for name in ("a", "b"))
    assert all(torch.equal(a[name], b[name]) for name in a)


# What a user can mend


def test_missing_data_are_one_line_and_leave_nothing_but_the_folder(
    command: Callable[..., Done], tmp_path: Path
) -> None:
    root, path = tmp_path / "empty", tmp_path / "run"
    done = command("dataset=mnist", f"data_root={root}", "data_download=false", f"run_dir={path}", "device=cpu")
    assert_users_mistake(done)
    assert str(root) in done.err and "mnist5k" in done.err
    assert files(path) == {} and not root.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one here")
def test_cuda_without_a_card_is_an_error(command: Callable[..., Done], tmp_path: Path) -> None:
    done = command(*TINY, "device=cuda", f"run_dir={tmp_path / 'run'}")
    assert_users_mistake(done)
    assert "device=cuda" in done.err and "device=cpu" in done.err


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:x", "meta"])
def test_a_device_that_cannot_train_is_an_error_that_names_it(
    command: Callable[..., Done], tmp_path: Path, device: str
) -> None:
    done = command(*TINY, f"device={device}", f"run_dir={tmp_path / 'run'}")
    assert_users_mistake(done)
    assert f"device={device}" in done.err


IMPOSSIBLE = {
    "model.filters=[1,2]": "filters",
    "model.input_size=[1,1]": "input_size",
    "dataset.classes=11": "dataset.classes=11",
    "init_from=/no/such/run": "/no/such/run/model.safetensors",
    "model.width=1e300": "width",
}


@pytest.mark.parametrize("options", IMPOSSIBLE)
def test_what_only_the_data_can_refuse_is_one_line(command: Callable[..., Done], tmp_path: Path, options: str) -> None:
    done = command(*TINY, *options.split(), f"run_dir={tmp_path / 'run'}")
    assert_users_mistake(done)
    assert IMPOSSIBLE[options] in done.err


@pytest.mark.parametrize("key", ["validation", "train_images"])
def test_more_images_than_there_are_is_one_line(command: Callable[..., Done], tmp_path: Path, key: str) -> None:
    done = command("device=cpu", f"dataset.{key}=4001", f"run_dir={tmp_path / 'run'}")
    assert_users_mistake(done)
    assert f"dataset.{key}=4001" in done.err


def test_a_run_folder_that_cannot_be_made_is_one_line(command: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_users_mistake(command(*TINY, f"run_dir={tmp_path / 'file' / 'run'}"))


@pytest.mark.parametrize("key", ["data_root", "init_from"])
def test_the_home_of_nobody_is_one_line(command: Callable[..., Done], tmp_path: Path, key: str) -> None:
    assert_users_mistake(command(*TINY, f"{key}='~no_such_user/x'", f"run_dir={tmp_path / 'run'}"))


# Other weights, other ends


def start(*overrides: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The weights that a run would start from, of backbone and criterion."""
    settings = compose([*TINY, *overrides])
    splits = load_data(settings)
    mean = training_mean(splits.train.images, "image")
    trainer = make_trainer(settings, splits, mean, CPU, Path("unused"))
    return trainer.backbone.state_dict(), trainer.criterion.state_dict()


def test_init_from_starts_from_the_given_runs_weights(ended: Path) -> None:
    tensors, _ = read_weights(ended / "model.safetensors")
    backbone, criterion = start(f"init_from={ended}", "seed=7")
    assert all(torch.equal(value, tensors[f"backbone.{name}"]) for name, value in backbone.items())
    assert torch.equal(criterion["weight"], tensors["criterion.weight"])


def test_without_init_from_a_run_starts_from_its_seed(ended: Path) -> None:
    settings = compose(TINY)
    backbone, _ = build_network(settings, load_data(settings).train, CPU)
    assert all(torch.equal(value, backbone.state_dict()[name]) for name, value in start()[0].items())


def test_a_margin_can_start_from_softmax(command: Callable[..., Done], tmp_path: Path) -> None:
    softmax = [option for option in TINY if option != "loss.m=2"] + ["loss=softmax", f"run_dir={tmp_path / 'first'}"]
    assert command(*softmax).code == 0
    assert command(*TINY, f"init_from={tmp_path / 'first'}", f"run_dir={tmp_path / 'second'}").code == 0
    assert result(tmp_path / "second")["init_from"] == str(tmp_path / "first")


@pytest.mark.parametrize("option", ["model.width=0.1", "dataset.classes=3", "model=cifar100", "model.activation=relu"])
def test_weights_of_another_network_are_refused(command: Callable[..., Done], ended: Path, option: str) -> None:
    done = command(*TINY, option, f"init_from={ended}", f"run_dir={ended.parent / 'next'}")
    assert_users_mistake(done)
    assert str(ended) in done.err


def test_a_run_folder_can_be_named_as_it_stands() -> None:
    folder = "outputs/runs/mnist5k/loss=softmax/seed=0"  # the default name of a run has = in it
    assert compose([f"init_from={folder}"]).init_from == folder


def test_a_run_that_diverges_is_code_3_and_says_so(command: Callable[..., Done], tmp_path: Path) -> None:
    options = [*TINY, "schedule.lr.base=1e30", f"run_dir={tmp_path / 'run'}"]
    done = command(*options)
    assert (done.code, result(tmp_path / "run")["status"]) == (3, "diverged")
    assert "diverged" in done.out
    assert set(files(tmp_path / "run")) & {"model.safetensors"} == set()
    assert command(*options).code == 3  # and is not done again


@pytest.mark.parametrize("key", ["base", "minimum"])
def test_an_infinite_lambda_is_a_run_without_a_margin(command: Callable[..., Done], tmp_path: Path, key: str) -> None:
    assert command(*TINY, f"schedule.lam.{key}=inf", f"run_dir={tmp_path / 'run'}").code == 0
    assert result(tmp_path / "run")["status"] == "finished"


# Sweeps and signals


def test_a_sweep_of_two_runs_prints_their_errors(command: Callable[..., Done], tmp_path: Path) -> None:
    both = f"run_dir={tmp_path / 'a'},{tmp_path / 'b'}"
    done = command("-m", *TINY, both)
    assert done.code == 0
    table = done.out[done.out.rindex("job ") :]
    for name in ("a", "b"):
        assert f"{result(tmp_path / name)['test_error']:.2f} %" in table and str(tmp_path / name) in table


def test_a_failed_run_of_a_sweep_leaves_the_others_alone(command: Callable[..., Done], tmp_path: Path) -> None:
    done = command("-m", *TINY, "device=cuda:99,cpu", f"run_dir={tmp_path / 'run'}")
    assert done.code == 2
    assert "failed" in done.out and result(tmp_path / "run")["status"] == "finished"


def test_a_sweep_stopped_by_a_signal_saves_says_so_and_starts_nothing_more(
    command: Callable[..., Done], tmp_path: Path
) -> None:
    path = tmp_path / "a"
    arguments = [*TINY, "schedule.steps=1000000", f"run_dir={path},{tmp_path / 'b'}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    sweep = ["trainer.log_every=10"]
    running = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "-m", *arguments, *sweep],
        env=environment,
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + 60
    while running.poll() is None and time.monotonic() < until:
        if (path / "metrics.jsonl").exists() and lines(path):
            break
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 143
    assert "stopped by SIGTERM" in err and err.count("\n") == 1
    assert "interrupted" in out and "not started" in out
    assert (path / "checkpoint.pt").exists() and not (tmp_path / "b").exists()
