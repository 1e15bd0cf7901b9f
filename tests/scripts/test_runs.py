"""scripts/_runs.py: several runs at once, what they leave, and what is left of them when they are stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.settings import ROOT as REPOSITORY
from lsoftmax.files import lock
from scripts import _runs

# What run_all starts in place of train.py. `told` counts the signals.
STUB = """
import json, os, pathlib, signal, sys, time
options = dict(option.split("=", 1) for option in sys.argv[1:])
folder = pathlib.Path(options["run_dir"])
folder.mkdir(parents=True, exist_ok=True)
def stop(signum, frame):
    with open(folder / "told", "a") as file:
        file.write("x")
    time.sleep(float(options.get("saving", 0)))
    os._exit(143)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup has its children ignore
began = time.time()
(folder / "began").write_text(str(os.getpgrp()))
time.sleep(float(options["takes"]))
if options.get("leaves") == "nothing":
    sys.exit(2)
if "dies_of" in options:
    os.kill(os.getpid(), int(options["dies_of"]))
result = json.dumps({"name": folder.name, "began": began, "ended": time.time()})
(folder / "new").write_text("{" if options.get("leaves") == "half" else result)
os.replace(folder / "new", folder / "result.json")
sys.exit(int(options.get("ends_with", 0)))
"""


@pytest.fixture(autouse=True)
def handlers():
    """run_all takes SIGTERM for its own."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


class Until:
    """A budget that is spent when something has happened."""

    def __init__(self, happened: Callable[[], bool]) -> None:
        self.is_spent = happened


@pytest.fixture
def command(monkeypatch, tmp_path) -> Callable[..., tuple[list[str], Path]]:
    """command("name", "takes=0.1") -> what run_all takes, for the stub."""
    (tmp_path / "train.py").write_text(STUB)
    monkeypatch.setattr(_runs, "ROOT", tmp_path)
    sleep = time.sleep
    monkeypatch.setattr(_runs.time, "sleep", lambda seconds: sleep(min(seconds, 0.02)))
    return lambda name, *options: ([f"run_dir={tmp_path / name}", "takes=0", *options], tmp_path / name)


ENDLESS = "takes=60"
NO_LIMIT = _runs.Budget(None)


def test_every_run_gives_its_result(command):
    results = _runs.run_all([command(name) for name in "abcd"], NO_LIMIT, 2)
    assert sorted(result["name"] for result in results) == ["a", "b", "c", "d"]


def test_no_runs_give_no_results(command):
    assert list(_runs.run_all([], NO_LIMIT, 2)) == []


@pytest.mark.parametrize("parallel", [1, 2])
def test_no_more_runs_at_once_than_allowed(command, parallel):
    runs = list(_runs.run_all([command(name, "takes=0.15") for name in "abcd"], NO_LIMIT, parallel))
    for run in runs:
        assert sum(other["began"] <= run["began"] < other["ended"] for other in runs) <= parallel


def test_one_run_at_once_keeps_the_order(command):
    assert [run["name"] for run in _runs.run_all([command(name) for name in "cab"], NO_LIMIT, 1)] == ["c", "a", "b"]


def test_results_come_as_the_runs_end(command):
    results = _runs.run_all([command("long", ENDLESS), command("short")], NO_LIMIT, 2)
    assert next(results)["name"] == "short"
    results.close()


def test_a_failed_run_is_left_out_and_the_others_go_on(command):
    runs = [command("a"), command("bad", "leaves=nothing"), command("c")]
    assert [run["name"] for run in _runs.run_all(runs, NO_LIMIT, 1)] == ["a", "c"]


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSEGV])
def test_a_run_that_the_system_kills_has_failed(command, signum, capsys):
    run, failed = command("a", f"dies_of={int(signum)}"), []
    assert list(_runs.run_all([run], NO_LIMIT, 1, failed)) == [] and failed == [run[1]]
    assert f"{run[1]}: killed by {signum.name}\n" in capsys.readouterr().out


@pytest.mark.parametrize(("code", "counts"), [(0, True), (3, True), (1, False)])
def test_the_result_of_a_run_that_diverged_counts_and_that_of_one_that_failed_does_not(command, code, counts):
    run, failed = command("a", f"ends_with={code}"), []
    assert len(list(_runs.run_all([run], NO_LIMIT, 1, failed))) == counts and failed == [run[1]] * (not counts)


def test_a_run_that_another_process_holds_has_not_failed(command, capsys):
    run, failed = command("a", "leaves=nothing"), []
    run[1].mkdir()
    with open(run[1] / ".lock", "w") as file:
        assert lock(file, run[1] / ".lock")
        assert list(_runs.run_all([run], NO_LIMIT, 1, failed)) == [] and failed == []
    assert f"another process is at {run[1]}" in capsys.readouterr().out


def test_a_run_that_was_told_to_stop_has_not_failed(command):
    running, failed = command("a", ENDLESS), []
    assert list(_runs.run_all([running], Until(lambda: begun(running)), 1, failed)) == [] and failed == []


def test_a_run_whose_terminal_has_gone_has_not_failed(command):
    run, failed = command("a", f"dies_of={int(signal.SIGHUP)}"), []
    assert list(_runs.run_all([run], NO_LIMIT, 1, failed)) == [] and failed == []


def test_afterwards_sigterm_is_handled_as_before(command):
    before = signal.getsignal(signal.SIGTERM)
    list(_runs.run_all([command("a")], NO_LIMIT, 1))
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_damaged_result_is_left_out_and_the_others_go_on(command):
    runs = [command("a"), command("bad", "leaves=half"), command("c")]
    assert [run["name"] for run in _runs.run_all(runs, NO_LIMIT, 1)] == ["a", "c"]


def test_a_failed_run_leaves_no_result_of_an_earlier_one(command):
    run = command("old", "leaves=nothing")
    run[1].mkdir()
    (run[1] / "result.json").write_text(json.dumps({"name": "of another configuration"}))
    assert list(_runs.run_all([run], NO_LIMIT, 1)) == []


def begun(*runs: tuple[list[str], Path]) -> bool:
    return all((folder / "began").exists() for _, folder in runs)


def test_a_spent_budget_tells_the_running_ones_to_stop(command):
    running = [command("a", ENDLESS), command("b", ENDLESS)]
    assert list(_runs.run_all(running, Until(lambda: begun(*running)), 2)) == []
    assert all((folder / "told").read_text() == "x" for _, folder in running)


def test_a_stopped_run_leaves_no_result_of_an_earlier_one(command):
    running = command("a", ENDLESS)
    running[1].mkdir()
    (running[1] / "result.json").write_text(json.dumps({"name": "of another configuration"}))
    assert list(_runs.run_all([running], Until(lambda: begun(running)), 1)) == []


def test_a_spent_budget_begins_no_other_run(command):
    running, waiting = command("a", ENDLESS), command("b")
    list(_runs.run_all([running, waiting], Until(lambda: begun(running)), 1))
    assert not waiting[1].exists()


def test_runs_that_save_are_waited_for(command):
    running = command("a", ENDLESS, "saving=0.3")
    before = time.monotonic()
    list(_runs.run_all([running], Until(lambda: begun(running)), 1))
    assert time.monotonic() - before > 0.3


def test_sigterm_stops_the_runs_and_leaves_with_143(command):
    running = command("a", ENDLESS)
    budget = Until(lambda: bool(begun(running) and signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(SystemExit) as left:
        list(_runs.run_all([running], budget, 1))
    assert left.value.code == 143 and (running[1] / "told").exists()


def test_who_takes_no_more_results_stops_the_runs(command):
    running = command("a", ENDLESS)
    results = _runs.run_all([running, command("b")], NO_LIMIT, 2)
    next(results)
    results.close()
    assert (running[1] / "told").exists()


def test_ctrl_c_reaches_the_runs_through_run_all_alone(command):
    """A terminal and `timeout` signal the whole group, run_all then each run; a second signal ends one unsaved."""
    run = command("a")
    list(_runs.run_all([run], NO_LIMIT, 1))
    assert int((run[1] / "began").read_text()) != os.getpgrp()


KILLED = """
import sys
from pathlib import Path
from scripts import _runs
_runs.ROOT = Path(sys.argv[1])
list(_runs.run_all([([f"run_dir={sys.argv[2]}", "takes=60"], Path(sys.argv[2]))], _runs.Budget(None), 1))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word to the child is Linux's")
def test_runs_save_and_stop_when_who_started_them_is_killed(command, tmp_path):
    command("a")  # the stub
    folder = tmp_path / "a"
    parent = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), str(folder)], cwd=REPOSITORY)
    try:
        wait_for((folder / "began").exists)
    finally:
        parent.kill()
        parent.wait()
    wait_for((folder / "told").exists)


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_run_that_ended_as_the_budget_did_still_counts(command):
    run = command("a")
    results = list(_runs.run_all([run], Until((run[1] / "result.json").exists), 1))
    assert [result["name"] for result in results] == ["a"]


@pytest.mark.parametrize(("minutes", "later", "spent"), [(1, 59, False), (1, 61, True), (None, 1e9, False)])
def test_a_budget_is_spent_after_its_minutes(minutes, later, spent):
    assert _runs.Budget(minutes, start=time.monotonic() - later).is_spent() == spent
