"""scripts/prepare_faces.py: killed, and resumed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import options, write_people

ROOT = Path(__file__).parents[2]
SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts without it
sys.path[:0] = [{root!r}, {scripts!r}]
import data.faces.parts as parts
parts.PART, parts.COMMIT_SECONDS = 8, 0.0
import data.faces.pack as pack
pack.PART = 8
import prepare_faces
from scripts import _cli
do_part = parts.do_part
def slowly(work, part):
    time.sleep({pause})
    return do_part(work, part)
parts.do_part = slowly
sys.exit(_cli.main(prepare_faces.prepare_faces, ""))
"""


def start(command: list[str], pause: float) -> "subprocess.Popen[str]":
    code = SLOW.format(root=str(ROOT), scripts=str(ROOT / "scripts"), pause=pause)
    return subprocess.Popen(
        [sys.executable, "-c", code, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def committed(part: Path) -> int:
    """Parts, not lines: an interrupt between a commit's last byte and its end has the same lines written again."""
    try:
        lines = (part / "parts.jsonl").read_text().splitlines(keepends=True)
    except OSError:
        return 0
    return len({line for line in lines if line.endswith("\n")})


def children(process: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def two_hundred_images(folder: Path) -> Path:
    return write_people(folder / "many", {f"p{k:03d}": 1 + k % 4 for k in range(80)}, 12, 10)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The pack of a command that nothing has interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    process = start(options(two_hundred_images(folder), folder / "pack", "aligned=true"), pause=0.0)
    assert process.communicate(timeout=60) and process.returncode == 0
    return folder / "pack"


@pytest.mark.parametrize(
    ("workers", "kill"),
    [
        (2, signal.SIGKILL),
        (2, signal.SIGINT),
        pytest.param(1, signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param(2, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(1, signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_killed_command_goes_on_and_ends_with_the_same_pack(tmp_path, whole, workers, kill) -> None:
    source = two_hundred_images(tmp_path)
    command = [f"source={source}", "aligned=true", f"workers={workers}"]
    process = start([*command, f"out={tmp_path / 'killed'}"], pause=0.1)
    part = tmp_path / "killed.part"
    deadline = time.monotonic() + 60
    while committed(part) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    workers_then = children(process.pid)
    process.send_signal(kill)
    process.communicate(timeout=30)
    assert process.returncode in (-kill, 130) and not (tmp_path / "killed").exists()
    before = committed(part)
    assert 4 <= before < 25
    with open(part / "parts.jsonl", "a") as journal:
        journal.write('{"part": 24, "sha')  # as a cut power may leave it
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{worker}").exists() for worker in workers_then) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers_then)

    again = start([*command, f"out={tmp_path / 'killed'}"], pause=0.0)
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert f"{before * 8}/200" in err  # it began where the other one was
    for name in ("images.npy", "labels.npy", "names.txt", "manifest.json", "left_out.tsv"):
        assert (tmp_path / "killed" / name).read_bytes() == (whole / name).read_bytes()
    assert not part.exists()


def test_a_second_process_is_refused(tmp_path, script) -> None:
    source = write_people(tmp_path / "many", {f"p{k:03d}": 2 for k in range(40)}, 12, 10)
    process = start([f"source={source}", "aligned=true", "workers=1", f"out={tmp_path / 'pack'}"], pause=0.3)
    try:
        deadline = time.monotonic() + 60
        while not committed(tmp_path / "pack.part") and time.monotonic() < deadline:
            time.sleep(0.02)
        said = script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true"))
        assert said.code == 2 and "in use by another process" in said.err
    finally:
        process.kill()
        process.communicate()


def test_a_dead_worker_is_one_line_and_what_was_done_stays(tmp_path) -> None:
    source = write_people(tmp_path / "many", {f"p{k:03d}": 2 for k in range(60)}, 12, 10)
    process = start([f"source={source}", "aligned=true", "workers=2", f"out={tmp_path / 'pack'}"], pause=0.2)
    deadline = time.monotonic() + 60
    while not committed(tmp_path / "pack.part") and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2 and "a worker has died" in err and "Traceback" not in err
    assert committed(tmp_path / "pack.part") >= 1
