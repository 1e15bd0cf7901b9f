"""run_command: exit codes, what is only shown, and mistakes in one line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs import ROOT, compose
from configs.command import Outcome
from configs.schema import Settings

from .conftest import ends_with

Command = Callable[..., Any]


@pytest.mark.parametrize("code", [0, 2, 3, 130, 143])
def test_the_exit_code_is_the_jobs(command: Command, code: int) -> None:
    assert command("seed=1", job=ends_with(code)).code == code


def test_a_job_gets_what_the_command_line_says_and_its_folder(command: Command) -> None:
    ((settings, path),) = command("loss.m=3", "seed=2").jobs
    assert settings == compose(["loss.m=3", "seed=2"])
    assert path == ROOT / "outputs/runs/mnist5k/loss.m=3/seed=2"


def test_a_single_run_prints_nothing_of_its_own(command: Command) -> None:
    said = command()
    assert (said.out, said.err) == ("", "")


WRONG = [
    "loss.m=0",
    "loss.mm=3",
    "loss=nope",
    "loss.m",
    "loss.m=1,2",
    "dataset=null",
    "experiment=nope",
    "seed=${nope}",
]
WRONG += ["seed=${oc.env:NO_SUCH_VARIABLE}", "=3", "loss.name=[1]", "loss.name={a:1}", "--config-name=nope"]
WRONG += ["--experimental-rerun=config.pickle"]
WRONG += ["run_dir='~no_such_user/x'", "run_dir=''"]


@pytest.mark.parametrize("option", WRONG)
def test_a_users_mistake_is_one_line_and_code_2(command: Command, option: str) -> None:
    said = command(option)
    assert (said.code, said.jobs) == (2, [])
    assert said.err.startswith("error: ") and said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.parametrize("flags", [["--nonsense"], ["loss.m=2", "--nonsense", "x"], ["--cfg", "nothing"], ["--cfg"]])
def test_a_flag_that_there_is_not_is_one_line(command: Command, flags: list[str]) -> None:
    said = command(*flags)
    assert (said.code, said.jobs, said.out) == (2, [], "")
    assert said.err.startswith("error: ") and said.err.count("\n") == 1


def test_flags_may_stand_among_the_overrides(command: Command) -> None:
    jobs = [command(*line).jobs for line in (["-m", "seed=1", "loss.m=2,3"], ["seed=1", "-m", "loss.m=2,3"])]
    assert jobs[0] == jobs[1] and len(jobs[0]) == 2


def test_a_bug_in_a_job_is_not_swallowed(command: Command) -> None:
    def broken(settings: Settings, path: Path) -> Outcome:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        command(job=broken)


def test_a_value_error_of_a_job_is_not_taken_for_a_users_mistake(command: Command) -> None:
    def broken(settings: Settings, path: Path) -> Outcome:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        command(job=broken)


def test_a_second_command_in_the_same_process_is_independent(command: Command) -> None:
    command("loss.m=0")
    assert command("loss.m=2").code == 0


def test_cfg_job_prints_the_configuration_and_runs_nothing(command: Command) -> None:
    said = command("--cfg", "job", "loss.m=3")
    assert (said.code, said.jobs) == (0, [])
    assert yaml.safe_load(said.out)["loss"]["m"] == 3


@pytest.mark.parametrize("path", ["a/loss.m=3", "/tmp/josé"])
def test_cfg_job_takes_a_path_as_a_run_does(command: Command, path: str) -> None:
    said = command("--cfg", "job", f"run_dir={path}")
    assert (said.code, said.err) == (0, "")
    assert yaml.safe_load(said.out)["run_dir"] == path


@pytest.mark.parametrize("flags", [["--cfg", "job"], ["--help"]])
def test_a_wrong_name_is_one_line_where_something_is_only_shown(command: Command, flags: list[str]) -> None:
    said = command(*flags, "loss=foo")
    assert (said.code, said.err.partition(";")[0]) == (2, "error: loss=foo: there is no such config")


def test_cfg_job_takes_experiment_null_as_a_run_does(command: Command) -> None:
    assert command("--cfg", "job", "experiment=null").code == 0


def test_paths_can_be_swept_over(command: Command) -> None:
    assert [str(path) for _, path in command("-m", "run_dir=/tmp/a,/tmp/b").jobs] == ["/tmp/a", "/tmp/b"]


def test_a_run_writes_nothing_into_the_working_folder(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    command("seed=1")
    assert list(tmp_path.iterdir()) == []


# In a process of its own, without torch: half a second each.

CHECK = "import sys; sys.argv[0] = 'train.py'; from train import run, run_command; code = run_command(run)"
CHECK += "; print('HEAVY', *sorted({'torch', 'numpy', 'tqdm', 'tensorboard'} & sys.modules.keys())); sys.exit(code)"


def alone(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    code = [sys.executable, "-c", CHECK, *arguments]
    return subprocess.run(code, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("option", ["loss.m=0", "loss.mm=4", "loss=nope"])
def test_a_mistake_is_answered_without_torch(option: str, tmp_path: Path) -> None:
    done = alone(option, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "HEAVY\n")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_help_shows_groups_keys_and_commands() -> None:
    done = subprocess.run([sys.executable, "train.py", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "dataset: cifar10, cifar10+",
        "loss: arcface, asoftmax, contrastive, cosface, hinge, lsoftmax, lsoftmax_m2, softmax, triplet",
        "python train.py -m loss.m=1,2,3,4",
        "m: 4",
    ):
        assert words in done.stdout


def test_help_offers_no_plumbing() -> None:
    done = subprocess.run([sys.executable, "train.py", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    for word in ("__pycache__", "hydra", "study:", "table:", "figure:", "profile:"):
        assert word not in done.stdout


def test_an_unknown_flag_is_code_2_without_a_traceback() -> None:
    done = alone("--nope")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_cfg_job_with_m_is_code_2_without_a_traceback() -> None:
    done = alone("-m", "--cfg", "job")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["-m", "seed=1,2"], ["--help"]])
def test_a_working_folder_that_is_gone_is_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    said = command(*arguments)
    assert (said.code, said.jobs) == (2, [])
    assert said.err == "error: the working folder is gone; change to one that exists\n"
