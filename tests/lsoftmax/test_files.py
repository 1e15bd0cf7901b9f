"""A file is the old one or the new one, whatever happens while it is written."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lsoftmax.errors import UserError
from lsoftmax.files import link_or_copy, lock, make_folder, write_atomically, write_json, write_text

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    return path


def refuse(code):
    def write(file):
        file.write(b"half of the ne")
        raise OSError(code, os.strerror(code))

    return write


def test_the_new_content_replaces_the_old(path):
    write_text(path, "new")
    assert path.read_text() == "new" and os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_refuses_leaves_the_old_file_and_nothing_beside(path, code):
    with pytest.raises(UserError):
        write_atomically(path, refuse(code))
    assert path.read_bytes() == b"old" and os.listdir(path.parent) == ["file"]


def test_the_error_says_what_the_system_said(path):
    with pytest.raises(UserError, match=rf"^cannot write {path}: No space left on device; [^\n]*$"):
        write_atomically(path, refuse(errno.ENOSPC))


def test_the_error_says_what_the_system_said_before_the_writer_broke_down(path):
    def write(file):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            raise RuntimeError("unexpected pos")  # torch.save's words

    with pytest.raises(UserError, match=rf"^cannot write {path}: No space left on device; "):
        write_atomically(path, write)


@pytest.mark.parametrize("error", [OSError(), OSError("odd"), RuntimeError(), RuntimeError("odd\nand long")])
def test_an_error_without_words_is_an_error_of_one_line(path, error):
    def write(file):
        raise error

    with pytest.raises(UserError, match=r"^[^\n]+$"):
        write_atomically(path, write)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_failure_after_the_last_byte_leaves_the_old_file(path, monkeypatch, function):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(UserError):
        write_text(path, "new")
    assert path.read_bytes() == b"old" and os.listdir(path.parent) == ["file"]


def test_the_content_is_on_the_disk_before_the_name_is(path, monkeypatch):
    calls = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append("fsync"))
    monkeypatch.setattr(os, "replace", lambda *names: calls.append("replace") or replace(*names))
    write_text(path, "new")
    assert calls == ["fsync", "replace", "fsync"]  # content, name, folder


def test_all_bytes_have_left_the_process_when_the_disk_is_asked_to_keep_them(path, monkeypatch):
    sizes = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    write_text(path, "new and longer")
    assert sizes[0] == len("new and longer")


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(UserError, match="No such file or directory"):
        write_text(tmp_path / "missing" / "file", "new")


def test_json_has_words_for_what_is_no_number(tmp_path):
    write_json(tmp_path / "file", {"x": math.nan, "y": [math.inf, 1.0]})
    assert json.loads((tmp_path / "file").read_text()) == {"x": "nan", "y": ["inf", 1.0]}


def test_json_keeps_strings_and_writes_lists_of_numbers_on_one_line(tmp_path):
    value = {"path": "runs/[1,  2]/x", "blank": "[  ]", "wrong": [1, 2.5e-3, -7], "none": [], "mixed": [[1, 2], None]}
    write_json(tmp_path / "file", value)
    text = (tmp_path / "file").read_text()
    assert json.loads(text) == value and '"wrong": [ 1, 0.0025, -7 ]' in text and "[ 1, 2 ]" in text


KILLED = """
import io, os, signal, sys
from pathlib import Path
from lsoftmax import files
moment, path = sys.argv[1], Path(sys.argv[2])
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
def write(file):
    file.write(b"half of the new")
    if moment == "write": file.flush(); die()
if moment in ("fsync", "replace"): setattr(os, moment, die)
if moment == "folder": files._flush_folder = die
files.write_atomically(path, write)
"""


@pytest.mark.parametrize(
    ("moment", "left"),
    [
        pytest.param("write", b"old", marks=pytest.mark.slow),
        pytest.param("fsync", b"old", marks=pytest.mark.slow),
        pytest.param("replace", b"old", marks=pytest.mark.slow),
        pytest.param("folder", b"half of the new", marks=pytest.mark.slow),
    ],
)
def test_a_writer_that_is_killed_leaves_the_old_file_or_the_new_one(path, moment, left):
    process = subprocess.run([sys.executable, "-c", KILLED, moment, str(path)], cwd=ROOT)
    assert process.returncode == -signal.SIGKILL and path.read_bytes() == left


def test_a_half_that_a_killed_writer_left_is_written_over(path):
    path.with_name("file.part").write_bytes(b"half of something longer than the new one")
    write_text(path, "new")
    assert path.read_text() == "new" and os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("taken", ["a", "a/b.part"])
def test_a_place_that_takes_no_file_is_one_line(tmp_path, taken):
    (tmp_path / "a").mkdir()
    if taken == "a":
        (tmp_path / "a").rmdir()
        (tmp_path / "a").write_text("a file where a folder should be")
    else:
        (tmp_path / taken).mkdir()
    with pytest.raises(UserError, match="^cannot write "):
        write_text(tmp_path / "a" / "b", "new")


def test_a_folder_is_made_with_its_parents_or_refused_in_one_line(path):
    make_folder(path.parent / "a" / "b")
    make_folder(path.parent / "a" / "b")
    assert (path.parent / "a" / "b").is_dir()
    with pytest.raises(UserError, match=f"^cannot write {path}/c: "):
        make_folder(path / "c")


def test_a_link_stays_what_it_was_when_a_new_file_takes_the_name_of_the_old(path):
    anchor = path.with_name("anchor")
    link_or_copy(path, anchor)
    write_text(path, "new")
    assert anchor.read_text() == "old" and sorted(os.listdir(path.parent)) == ["anchor", "file"]


def test_a_file_system_without_links_gets_a_copy(path, monkeypatch):
    def link(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    link_or_copy(path, path.with_name("anchor"))
    assert path.with_name("anchor").read_text() == "old"


def test_a_link_that_a_killed_process_left_half_way_is_made_again(path):
    os.link(path, path.with_name("anchor.part"))
    link_or_copy(path, path.with_name("anchor"))
    assert path.with_name("anchor").read_text() == "old"


def test_a_link_that_cannot_be_made_is_one_line(path):
    with pytest.raises(UserError, match=f"^cannot write {path.parent}/anchor: No such file or directory; "):
        link_or_copy(path.with_name("missing"), path.with_name("anchor"))


def test_a_lock_is_held_until_the_file_is_closed(path):
    with open(path, "a") as first, open(path, "a") as second:
        assert lock(first, path) and not lock(second, path)
        first.close()
        assert lock(second, path)


def test_a_file_system_without_locks_is_said(path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", flock)
    with open(path, "a") as file, pytest.raises(UserError, match=f"^cannot lock {path}: {os.strerror(errno.ENOSYS)}; "):
        lock(file, path)
