"""The whole command, killed in all ways: python train.py debug=smoke ... ends with the same weights."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import train
from configs.settings import compose
from lsoftmax.engine.weights import read_weights

ROOT = Path(__file__).parents[2]
# From step 5 on a step takes so long that a signal meets it under way.
SLOWLY = """
import time
from lsoftmax.engine.trainer import Trainer
step = Trainer._step
Trainer._step = lambda self: (time.sleep(0.05 if self.progress.step >= 5 else 0), step(self))
"""
SMOKE = [
    *("debug=smoke", "dataset=synthetic", "dataset.like=mnist", "dataset.test_images=40", "model=mnist"),
    *("model.width=0.05", "schedule=mnist5k", "schedule.steps=60", "schedule.batch_size=8", "schedule.lam.gamma=0.01"),
    *("trainer.eval_every=30", "trainer.checkpoint_every=20", "device=cpu"),
]


def finish(folder, *more):
    """The command in this process; the outcome."""
    return train.run(compose([*SMOKE, *more]), folder)


def start(folder, prelude="", *more):
    """The command in a process of its own, after the Python of `prelude`."""
    code = f"import runpy, sys\n{prelude}\nsys.argv[0] = 'train.py'\nrunpy.run_path('train.py', run_name='__main__')"
    command = [sys.executable, "-u", "-c", code, *SMOKE, f"run_dir={folder}", *more]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(process, text):
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(process.stderr.read())


def lines(folder):
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in r.items() if k not in ("seconds", "images_per_s")} for r in records]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    before = torch.are_deterministic_algorithms_enabled()
    assert finish(folder).code == 0
    torch.use_deterministic_algorithms(before)
    return folder


@pytest.fixture
def check_same_end(tools, whole):
    """check_same_end(folder): the same command goes on and ends with the bits of the uninterrupted run."""

    def check(folder):
        assert finish(folder).code == 0
        # Not byte for byte: safetensors orders its metadata anew in every process.
        tools.check_same(*(read_weights(path / "model.safetensors") for path in (folder, whole)))
        assert lines(folder) == lines(whole)

    return check


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_command_ends_the_same(tmp_path, check_same_end, signum):
    with start(tmp_path, SLOWLY) as process:
        wait_for(process, "5/60")
        process.send_signal(signum)
        _, errors = process.communicate()
    assert process.returncode == 128 + signum, errors
    assert errors.startswith(f"stopped by {signum.name}; the same command goes on from")
    assert 5 <= torch.load(tmp_path / "checkpoint.pt", weights_only=True)["progress"]["step"] < 20
    check_same_end(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("step", [5, 25, 50])
def test_a_killed_command_ends_the_same(tmp_path, check_same_end, step):
    with start(tmp_path, SLOWLY) as process:
        wait_for(process, f"{step}/60")
        process.kill()
    assert process.returncode == -signal.SIGKILL
    check_same_end(tmp_path)


DIE = "os.kill(os.getpid(), signal.SIGKILL)"
MOMENTS = {
    "half of the checkpoint": f"""
import os, signal, torch
save, calls = torch.save, []
def half(state, file):
    calls.append(1)
    if len(calls) == 3:
        import io; whole = io.BytesIO(); save(state, whole); file.write(whole.getvalue()[:5000]); file.flush(); {DIE}
    save(state, file)
torch.save = half
""",
    "before its rename": f"""
import os, signal
replace, calls = os.replace, []
def die(source, target):
    if "checkpoint" in str(target): calls.append(1)
    if len(calls) == 3: {DIE}
    replace(source, target)
os.replace = die
""",
    "after its rename": f"""
import os, signal
replace, calls = os.replace, []
def die(source, target):
    replace(source, target)
    if "checkpoint" in str(target): calls.append(1)
    if len(calls) == 3: {DIE}
os.replace = die
""",
    "before the result": f"""
import os, signal
replace = os.replace
def die(source, target):
    if "result.json" in str(target): {DIE}
    replace(source, target)
os.replace = die
""",
}


@pytest.mark.parametrize(
    "moment", [next(iter(MOMENTS)), *(pytest.param(name, marks=pytest.mark.slow) for name in list(MOMENTS)[1:])]
)
def test_a_command_killed_while_it_writes_ends_the_same(tmp_path, check_same_end, moment):
    with start(tmp_path, MOMENTS[moment]) as process:
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    check_same_end(tmp_path)


def test_an_ended_run_is_not_done_again(whole):
    before = (whole / "result.json").stat().st_mtime_ns
    assert finish(whole).code == 0 and (whole / "result.json").stat().st_mtime_ns == before


def test_an_ended_run_leaves_its_files_and_no_checkpoint(whole):
    names = {name for name in os.listdir(whole) if not name.startswith((".", "events"))}
    assert names == {"config.yaml", "metrics.jsonl", "model.safetensors", "result.json"}


def test_another_configuration_in_the_folder_is_refused(whole, capsys):
    assert finish(whole, "seed=1").code == 2
    assert "seed is 0 there, 1 asked" in capsys.readouterr().err


def test_a_diverging_command_ends_with_code_3(tmp_path):
    outcome = finish(tmp_path, "schedule.lr.base=1e30")
    result = json.loads((tmp_path / "result.json").read_text())
    assert (outcome.code, result["status"]) == (3, "diverged")


def test_a_command_without_margin_ends_well(tmp_path):
    assert finish(tmp_path, "schedule.steps=16", "schedule.lam.base=inf").code == 0


def test_the_remedy_for_other_data_helps(tmp_path, capsys):
    finish(tmp_path, "schedule.steps=16", "trainer.keep_checkpoint=true")
    (tmp_path / "result.json").unlink()
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    torch.save(state | {"data_sha256": "b" * 64}, tmp_path / "checkpoint.pt")
    assert finish(tmp_path, "schedule.steps=16").code == 2
    assert "trainer.overwrite=true to start anew" in capsys.readouterr().err
    assert finish(tmp_path, "schedule.steps=16", "trainer.overwrite=true").code == 0


def test_a_full_disk_ends_with_code_2_and_the_command_goes_on_later(tools, tmp_path, check_same_end, capsys):
    with tools.file_size_limit(20_000):
        assert finish(tmp_path).code == 2
    assert "error: cannot write" in capsys.readouterr().err
    check_same_end(tmp_path)
