"""One run, one folder: locked, found again, never overwritten unasked."""

import json
import math
import os
import subprocess
import sys

import pytest

from lsoftmax.engine import checkpoint
from lsoftmax.engine.folder import RunFolder, identity_sha256
from lsoftmax.errors import UserError

ASKED = {"loss": {"name": "lsoftmax", "m": 4}, "schedule": {"lr": {"milestones": [1, 2], "base": 0.1}}, "seed": 0}
OTHER = {**ASKED, "loss": {"name": "lsoftmax", "m": 2}}
HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a+"); fcntl.flock(file, fcntl.LOCK_EX); file.truncate(0)
import os; file.write(f"{os.getpid()}\\n"); file.flush(); print("held", flush=True); sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run", ASKED)
    folder.acquire()
    yield folder
    folder.release()


def ended_as(folder, identity=ASKED, **more):
    folder.finish({"status": "finished", **identity, "test_error": 1.5, **more}, keep_checkpoint=False)


def begun_as(folder, identity=ASKED):
    checkpoint.save(folder.checkpoint, {"identity": identity, "step": 3})


# --- the lock


def test_the_folder_is_made_with_its_parents(tmp_path):
    folder = RunFolder(tmp_path / "a" / "b", ASKED)
    folder.acquire()
    folder.release()
    assert (tmp_path / "a" / "b").is_dir()


def test_a_folder_held_by_another_process_is_refused_with_its_number(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"in use by process {process.pid};"):
            RunFolder(tmp_path, ASKED).acquire()
        process.stdin.close()


def test_a_held_folder_is_refused_within_the_process_too(folder):
    with pytest.raises(UserError, match=f"in use by process {os.getpid()};"):
        RunFolder(folder.path, ASKED).acquire()


def test_a_refused_process_does_not_break_the_lock(folder):
    for _ in range(2):
        with pytest.raises(UserError):
            RunFolder(folder.path, ASKED).acquire()


def test_a_released_folder_is_free(folder):
    folder.release()
    again = RunFolder(folder.path, ASKED)
    again.acquire()
    again.release()


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    (tmp_path / ".lock").write_text("999999\n")
    folder = RunFolder(tmp_path, ASKED)
    folder.acquire()
    folder.release()
    assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


def test_releasing_twice_is_harmless(folder):
    folder.release()
    folder.release()


def test_a_file_in_the_place_of_the_folder_is_an_error_of_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^cannot use the run folder [^\n]*$"):
        RunFolder(tmp_path / "file" / "run", ASKED).acquire()


def test_a_full_disk_is_an_error_from_the_first_byte(tools, tmp_path):
    folder = RunFolder(tmp_path, ASKED)
    with tools.file_size_limit(0), pytest.raises(UserError):
        folder.acquire()


# --- what is here


def test_an_empty_folder_holds_no_ended_run(folder):
    assert folder.ended(overwrite=False) is None


def test_an_ended_run_is_returned(folder):
    ended_as(folder)
    assert folder.ended(overwrite=False)["test_error"] == 1.5


def test_a_diverged_run_has_ended(folder):
    ended_as(folder, status="diverged")
    assert folder.ended(overwrite=False)["status"] == "diverged"


def test_an_unfinished_run_goes_on(folder):
    begun_as(folder)
    assert folder.ended(overwrite=False) is None and folder.checkpoint.exists()


@pytest.mark.parametrize("make", [begun_as, ended_as])
def test_another_configuration_is_refused_with_the_difference(folder, make):
    make(folder, OTHER)
    with pytest.raises(UserError, match=r"another configuration \(loss.m is 2 there, 4 asked\)"):
        folder.ended(overwrite=False)


@pytest.mark.parametrize("make", [begun_as, ended_as])
def test_a_key_that_was_not_there_is_shown(folder, make):
    make(folder, {**ASKED, "loss": {"name": "softmax"}})
    with pytest.raises(UserError, match="loss.m is absent there, 4 asked; loss.name is softmax there, lsoftmax asked"):
        folder.ended(overwrite=False)


def test_many_differences_are_shortened(folder):
    folder.identity = {"schedule": {str(n): n for n in range(20)}}
    begun_as(folder, {"schedule": {}})
    with pytest.raises(UserError, match=r"; \.\.\.\)"):
        folder.ended(overwrite=False)


@pytest.mark.parametrize("make", [begun_as, ended_as])
def test_a_refused_folder_is_left_as_it_was(folder, make):
    make(folder, OTHER)
    before = sorted(os.listdir(folder.path))
    with pytest.raises(UserError):
        folder.ended(overwrite=False)
    assert sorted(os.listdir(folder.path)) == before


@pytest.mark.parametrize("make", [begun_as, ended_as])
def test_overwrite_replaces_another_configuration(folder, make):
    make(folder, OTHER)
    assert folder.ended(overwrite=True) is None and folder.outdated


def test_overwrite_does_an_ended_run_again(folder):
    ended_as(folder)
    assert folder.ended(overwrite=True) is None and folder.outdated


@pytest.mark.parametrize("make", [begun_as, ended_as])
def test_what_overwrite_replaces_stays_until_it_is_cleared(folder, make):
    make(folder, OTHER)
    before = sorted(os.listdir(folder.path))
    folder.ended(overwrite=True)
    assert sorted(os.listdir(folder.path)) == before
    folder.clear()
    assert os.listdir(folder.path) == [".lock"]


def test_overwrite_goes_on_with_an_unfinished_run(folder):
    begun_as(folder)
    assert folder.ended(overwrite=True) is None and not folder.outdated


def test_without_overwrite_nothing_is_outdated(folder):
    ended_as(folder)
    folder.ended(overwrite=False)
    assert not folder.outdated


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"3", b"{}", b'{"status": "fin', b"\xff\xfe\x00", b'"x"']
)
def test_a_damaged_result_is_an_error_that_names_the_remedy(folder, content):
    folder.result.write_bytes(content)
    with pytest.raises(UserError, match=r"result.json is damaged; trainer.overwrite=true[^\n]*$"):
        folder.ended(overwrite=False)


def test_overwrite_replaces_a_damaged_result(folder):
    folder.result.write_bytes(b"{")
    assert folder.ended(overwrite=True) is None and folder.outdated


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04"])
def test_a_damaged_checkpoint_is_an_error(folder, content):
    folder.checkpoint.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        folder.ended(overwrite=False)


def test_a_checkpoint_that_does_not_say_what_was_asked_is_an_error(folder):
    checkpoint.save(folder.checkpoint, {"step": 3})
    with pytest.raises(UserError):
        folder.ended(overwrite=False)


def test_overwrite_replaces_a_damaged_checkpoint(folder):
    folder.checkpoint.write_bytes(b"PK\x03\x04")
    assert folder.ended(overwrite=True) is None and folder.outdated


# --- clear and finish


def test_clear_removes_all_that_a_run_wrote(tools, tmp_path, trained):
    folder = RunFolder(trained.path.parent, ASKED)
    ended_as(folder)
    begun_as(folder)
    for path in (folder.config, folder.weights, folder.anchor):
        path.write_text("")
    folder.clear()
    assert os.listdir(folder.path) == []


def test_clear_removes_the_halves_that_a_killed_run_left(folder):
    folder.checkpoint.with_name("checkpoint.pt.part").write_bytes(b"half")
    folder.clear()
    assert os.listdir(folder.path) == [".lock"]


def test_clear_leaves_what_is_not_the_runs_own(folder):
    ended_as(folder)
    others = ["notes.txt", "events.txt", "checkpoint.pt.bak", "my_model.safetensors", "checkpoint_1000.pt"]
    for name in others:
        (folder.path / name).write_text("mine")
    (folder.path / "plots").mkdir()
    folder.clear()
    assert sorted(os.listdir(folder.path)) == sorted([".lock", "plots", *others])


def test_clear_removes_a_link_to_a_folder_and_leaves_the_folder(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    folder.weights.symlink_to(tmp_path / "elsewhere")
    folder.clear()
    assert os.listdir(folder.path) == [".lock"] and (tmp_path / "elsewhere").is_dir()


def test_clear_removes_the_result_first(folder, monkeypatch):
    ended_as(folder)
    begun_as(folder)
    removed = []
    monkeypatch.setattr(type(folder.path), "unlink", lambda self, missing_ok=False: removed.append(self.name))
    folder.clear()
    assert removed[0] == "result.json"


@pytest.mark.parametrize("keep", [True, False])
def test_finish_keeps_the_checkpoint_if_asked(folder, keep):
    begun_as(folder)
    folder.anchor.write_bytes(b"anchor")
    folder.finish({"status": "finished"}, keep_checkpoint=keep)
    assert folder.checkpoint.exists() is folder.anchor.exists() is keep


def test_a_checkpoint_that_cannot_go_stays_and_the_run_has_ended(folder, monkeypatch):
    def refuse(self, missing_ok=False):
        raise PermissionError(1, "Operation not permitted")

    begun_as(folder)
    monkeypatch.setattr(type(folder.path), "unlink", refuse)
    folder.finish({"status": "finished"}, keep_checkpoint=False)
    assert folder.checkpoint.exists() and folder.result.exists()


def test_a_result_that_cannot_be_written_keeps_the_checkpoint(tools, folder):
    begun_as(folder)
    with tools.file_size_limit(10), pytest.raises(UserError):
        ended_as(folder)
    assert folder.checkpoint.exists() and not folder.result.exists()


def test_a_lambda_of_infinity_can_be_asked_recorded_and_found_again(folder):
    folder.identity = {"schedule": {"lam": {"base": math.inf}}}  # schedule.lam.base=.inf: no margin
    ended_as(folder, folder.identity)
    assert folder.ended(overwrite=False)["status"] == "finished"


# --- the hash


def test_the_hash_does_not_depend_on_the_order_of_keys():
    shuffled = {
        "seed": 0,
        "schedule": {"lr": {"base": 0.1, "milestones": [1, 2]}},
        "loss": {"m": 4, "name": "lsoftmax"},
    }
    assert identity_sha256(shuffled) == identity_sha256(ASKED)


def test_the_hash_survives_json():
    assert identity_sha256(json.loads(json.dumps(ASKED))) == identity_sha256(ASKED)


def test_the_hash_tells_configurations_apart():
    assert identity_sha256(OTHER) != identity_sha256(ASKED)
