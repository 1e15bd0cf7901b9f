"""scripts/_cli.py: a reader that stops reading is no error, a full disk is one line."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.settings import ROOT
from scripts._cli import main
from scripts._values import new_file, whole


@pytest.mark.parametrize("value", ["0", "-1", "x", "9" * 5000])
def test_what_is_no_count_is_one_line(value):
    with pytest.raises(ConfigError, match="seeds must be an integer >= 1"):
        whole({"seeds": value}, "seeds", 1)


@pytest.mark.parametrize("value", ["", ".", "/", "..", str(ROOT)])
def test_what_is_no_file_to_write_is_one_line(value):
    with pytest.raises(ConfigError, match=f"out must be a file FILE.json, got '{re.escape(value)}'"):
        new_file({"out": value}, "out", "FILE.json")


@pytest.mark.parametrize("value", ["a.json", "new/a.json", "x" * 5000])  # what the disk says of it comes later
def test_a_file_to_write_may_be_new(value, tmp_path):
    assert new_file({"out": f"{tmp_path}/{value}"}, "out", "FILE.json") == tmp_path / value


@pytest.mark.parametrize("option", ["run=~no_such_user/a", "~no_such_user"])
def test_the_home_of_nobody_is_one_line(option, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["any.py", "out=~/a.json", option])
    assert main(lambda arguments: Path(arguments[1].removeprefix("run=")).expanduser(), None) == 2
    assert capsys.readouterr().err == f"error: {option}: there is no such home folder\n"


def test_too_little_memory_is_one_line(capsys):
    def script(arguments):
        raise MemoryError("cannot take 9 TB")

    assert main(script, None) == 2
    assert capsys.readouterr().err == "error: not enough memory (cannot take 9 TB); take fewer images\n"


def without_reader(*command):
    """Run it with a standard output that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    here = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}  # as a pipe is
    streams = {"stdout": write, "stderr": subprocess.PIPE}
    try:
        return subprocess.run([sys.executable, *command], cwd=ROOT, env=here, text=True, **streams)
    finally:
        os.close(write)


@pytest.mark.parametrize("name", ["embed", "export", "verify"])
def test_help_for_a_reader_that_has_gone(name):
    done = without_reader(f"scripts/{name}.py", "-h")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("length", [10, 1_000_000])  # flushed at the end, and while printing
def test_results_for_a_reader_that_has_gone(length):
    code = f"import sys; from scripts import _cli; sys.exit(_cli.main(lambda options: print('x' * {length}), None))"
    done = without_reader("-c", code)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_that_finds_no_room_is_not_the_output():
    error = OSError(errno.ENOSPC, "No space left on device", "records")

    def script(options):
        raise error

    with pytest.raises(OSError, match="records") as said:
        main(script, None)
    assert said.value is error


def test_an_error_keeps_its_code_where_the_output_takes_nothing():
    program = (
        "import sys; from configs.errors import ConfigError; from scripts import _cli\n"
        "def script(options): print('x'); raise ConfigError('no such thing')\n"
        "sys.exit(_cli.main(script, None))"
    )
    command = [sys.executable, "-c", program]
    here = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=ROOT, env=here, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: no such thing\n") and "Exception" not in done.stderr


def test_help_reaches_a_reader(script):
    said = script("embed", "--help")
    assert said.code == 0 and said.out.startswith("Embeddings of a folder") and "resize=" in said.out
