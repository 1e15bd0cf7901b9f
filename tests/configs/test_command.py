"""run_command: exit codes, and sweeps that go on whatever fails."""

import os
import signal
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

Command = Callable[..., Any]


def ends_with(code: int, status: str = "ended") -> Callable[[Settings, Path], Outcome]:
    return lambda settings, path: Outcome(code, status, folder=path)


def by_seed(*codes: int) -> Callable[[Settings, Path], Outcome]:
    """Seed n ends with the n-th code."""
    return lambda settings, path: Outcome(codes[settings.seed], f"code {codes[settings.seed]}", folder=path)


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


# Sweeps


def test_a_sweep_runs_every_combination(command: Command) -> None:
    said = command("-m", "loss.m=1,2", "seed=0,1,2")
    assert [(settings.loss.m, settings.seed) for settings, _ in said.jobs] == [
        (m, s) for m in (1, 2) for s in (0, 1, 2)
    ]
    assert said.code == 0


def test_the_jobs_of_a_sweep_have_folders_of_their_own(command: Command) -> None:
    said = command("-m", "loss.m=1,2", "seed=0,1")
    assert len({path for _, path in said.jobs}) == 4


def test_a_job_of_a_sweep_has_the_folder_of_the_same_single_run(command: Command) -> None:
    ((_, swept),) = command("-m", "loss.m=3", "dataset=mnist").jobs
    ((_, single),) = command("dataset=mnist", "loss.m=3").jobs
    assert swept == single


def test_a_sweep_prints_a_table(command: Command) -> None:
    said = command("-m", "loss.m=1,2")
    folder = ROOT / "outputs/runs/mnist5k"
    assert said.table == [
        [f"loss.m={m}", "finished", "1.25 %", "2", str(folder / f"loss.m={m}" / "seed=0")] for m in (1, 2)
    ]


def test_the_table_has_the_errors_to_choose_by_where_images_were_set_apart(command: Command) -> None:
    def job(settings: Settings, path: Path) -> Outcome:
        if settings.seed:
            return Outcome(128, "failed")
        return Outcome(0, "finished", 1.25, 2.0, Path("run"), 1.5)

    said = command("-m", "seed=0,1", job=job)
    header = next(line for line in said.out.splitlines() if line.startswith("job "))
    assert header.split("  ")[0] == "job" and header.index("val error") < header.index("test error")
    assert said.table[0] == ["seed=0", "finished", "1.50 %", "1.25 %", "2", "run"]
    assert said.table[1] == ["seed=1", "failed"]


def test_a_sweep_of_one_job_prints_its_table_too(command: Command) -> None:
    assert [row[:2] for row in command("-m").table] == [["(defaults)", "finished"]]


@pytest.mark.parametrize(("codes", "highest"), [((0, 2), 2), ((2, 3, 0), 3), ((3, 2), 3), ((0, 0), 0), ((2, 143), 143)])
def test_a_sweep_ends_with_the_highest_code(command: Command, codes: tuple[int, ...], highest: int) -> None:
    said = command("-m", f"seed={','.join(map(str, range(len(codes))))}", job=by_seed(*codes))
    assert said.code == highest
    assert [row[1] for row in said.table] == [f"code {code}" for code in codes]


def test_a_wrong_value_does_not_stop_the_other_jobs(command: Command) -> None:
    said = command("-m", "loss.m=0,2")
    assert [settings.loss.m for settings, _ in said.jobs] == [2]
    assert [row[:2] for row in said.table] == [["loss.m=0", "wrong configuration"], ["loss.m=2", "finished"]]
    assert (said.code, said.err) == (2, "error: loss.m must be an integer >= 1, got 0\n")


@pytest.mark.parametrize("order", ["softmax,lsoftmax", "lsoftmax,softmax"])
def test_a_key_of_another_choice_does_not_stop_the_other_jobs(command: Command, order: str) -> None:
    said = command("-m", f"loss={order}", "loss.m=4")
    assert [settings.loss.name for settings, _ in said.jobs] == ["lsoftmax"]
    assert sorted(row[1] for row in said.table) == ["finished", "wrong configuration"]
    assert said.code == 2 and said.err.count("\n") == 1 and "loss.m" in said.err


def test_an_unknown_member_does_not_stop_the_other_jobs(command: Command) -> None:
    said = command("-m", "loss=nope,softmax")
    assert [settings.loss.name for settings, _ in said.jobs] == ["softmax"]
    assert [row[:2] for row in said.table] == [["loss=nope", "wrong configuration"], ["loss=softmax", "finished"]]
    assert said.code == 2


@pytest.mark.parametrize("value", ["${nope}", "${oc.env:NO_SUCH_VARIABLE}"])
def test_a_reference_to_nothing_does_not_stop_the_other_jobs(command: Command, value: str) -> None:
    said = command("-m", f"seed={value},1")
    assert [settings.seed for settings, _ in said.jobs] == [1]
    assert len(said.table) == 2 and said.code == 2


def test_a_null_group_does_not_stop_the_other_jobs(command: Command) -> None:
    said = command("-m", "dataset=null,mnist")
    assert [settings.dataset.name for settings, _ in said.jobs] == ["mnist"]
    assert len(said.table) == 2 and said.code == 2


def test_a_sweep_can_compare_an_experiment_with_none(command: Command) -> None:
    said = command("-m", "experiment=caffe_mnist,null")
    assert [settings.dataset.name for settings, _ in said.jobs] == ["mnist", "mnist5k"]


@pytest.mark.parametrize("option", ["loss=glob(*)", "seed=range(1,3,0)", "seed=range(3,1)", "seed=interval(1,2)"])
def test_a_sweep_without_values_is_one_line(command: Command, option: str) -> None:
    said = command("-m", option)
    assert (said.code, said.jobs) == (2, [])
    assert said.err.startswith(f"error: {option}: a sweep needs values") and said.err.count("\n") == 1


def test_an_unknown_key_everywhere_is_said_and_nothing_runs(command: Command) -> None:
    said = command("-m", "loss.mm=1,2")
    assert (said.code, said.jobs) == (2, [])
    assert "did you mean loss.m?" in said.err


@pytest.mark.parametrize("code", [130, 143])
def test_after_a_signal_the_rest_is_not_started(command: Command, code: int) -> None:
    said = command("-m", "seed=0,1,2,3", job=by_seed(0, code, 0, 0))
    assert [settings.seed for settings, _ in said.jobs] == [0, 1]
    assert [row[1] for row in said.table] == ["code 0", f"code {code}", "not started", "not started"]
    assert said.code == code


def test_after_a_signal_a_job_that_cannot_be_composed_is_not_started_either(command: Command) -> None:
    said = command("-m", "loss=lsoftmax,nope", job=ends_with(130))
    assert [row[1] for row in said.table] == ["ended", "not started"]
    assert said.code == 130


def test_the_folder_of_a_job_that_diverged_is_taken_too(command: Command, tmp_path: Path) -> None:
    said = command("-m", "seed=0,1", f"run_dir={tmp_path}", job=lambda _, path: Outcome(3, "diverged", folder=path))
    assert len(said.jobs) == 1 and "is the folder of another job of the sweep too" in said.err


def test_a_signal_while_nothing_is_trained_leaves_with_its_number_and_a_table_of_what_has_ended(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def job(settings: Settings, path: Path) -> Outcome:
        if settings.seed == 1:
            signal.raise_signal(signal.SIGTERM)
        return Outcome(0, "finished")

    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    said = command("-m", "seed=0,1,2", job=job)
    assert codes == [143] and said.err == "stopped by SIGTERM\n"
    then, afterwards = said.out.split("\njob ")[1:]
    assert (then.count("finished"), afterwards.count("finished")) == (1, 3)


def test_under_nohup_a_closed_terminal_is_still_ignored(command: Command) -> None:
    found = []

    def job(settings: Settings, path: Path) -> Outcome:
        found.append(signal.getsignal(signal.SIGHUP))
        return Outcome(0, "finished")

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        command(job=job)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert found == [signal.SIG_IGN]


def test_a_bug_in_one_job_is_shown_whole_and_the_others_run(command: Command) -> None:
    ran = []

    def broken_at_first(settings: Settings, path: Path) -> Outcome:
        ran.append(settings.seed)
        if settings.seed == 0:
            raise ZeroDivisionError("a bug")
        return Outcome(0, "finished")

    said = command("-m", "seed=0,1", job=broken_at_first)
    assert (said.code, ran, [row[1] for row in said.table]) == (1, [0, 1], ["crashed", "finished"])
    assert "Traceback" in said.err and "ZeroDivisionError: a bug" in said.err


def test_a_sweep_writes_nothing_into_the_working_folder(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    command("-m", "seed=0,1")
    assert list(here.iterdir()) == []


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
