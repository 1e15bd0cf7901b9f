"""scripts/_cli.py: a reader that stops reading is no error, a full disk is one line."""

import os
import subprocess
import sys

import pytest

from configs.errors import ConfigError
from configs.settings import ROOT
from scripts._cli import whole


@pytest.mark.parametrize("value", ["0", "-1", "x", "9" * 5000])
def test_what_is_no_count_is_one_line(value):
    with pytest.raises(ConfigError, match="seeds must be an integer >= 1"):
        whole({"seeds": value}, "seeds", 1)


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


@pytest.mark.parametrize(
    ("output", "code", "said"),
    [
        (">/dev/full", 2, "error: cannot write to the standard output: No space left on device\n"),
        (">&-", 0, ""),
        (">&- 2>&-", 0, ""),
    ],
)
def test_results_for_an_output_that_takes_nothing(output, code, said):
    program = "import sys; from scripts import _cli; sys.exit(_cli.main(lambda options: print('x'), None))"
    command = f'"{sys.executable}" -c "{program}" {output}'
    done = subprocess.run(command, shell=True, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (code, said)


def test_help_reaches_a_reader(script):
    said = script("embed", "--help")
    assert said.code == 0 and said.out.startswith("Embeddings of a folder") and "resize=" in said.out
