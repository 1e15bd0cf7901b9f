"""Sweeps: a job for each combination, in folders of their own, that go on whatever fails; signals between jobs."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs import ROOT
from configs.command import Outcome
from configs.schema import Settings

from .conftest import ends_with

Command = Callable[..., Any]


def by_seed(*codes: int) -> Callable[[Settings, Path], Outcome]:
    """Seed n ends with the n-th code."""
    return lambda settings, path: Outcome(codes[settings.seed], f"code {codes[settings.seed]}", folder=path)


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
