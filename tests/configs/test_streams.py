"""An output that is closed or takes nothing: one line and a code, of train.py and of the scripts."""

import subprocess
import sys

import pytest

from configs.settings import ROOT

SCRIPT = "-c \"import sys; from scripts import _cli; sys.exit(_cli.main(lambda options: print('x'), None))\""
FULL = "error: cannot write to the standard output: No space left on device\n"
WRONG = "error: loss.m must be an integer >= 1, got 0\n"


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        ("train.py --cfg job >/dev/full", 2, FULL),
        ("train.py --help >/dev/full", 2, FULL),
        ("train.py --help >&-", 0, ""),
        ("train.py -m loss.m=0 >/dev/full", 2, WRONG),
        ("train.py -m loss.m=0 >&-", 2, WRONG),
        (f"{SCRIPT} >/dev/full", 2, FULL),
        (f"{SCRIPT} >&-", 0, ""),
        (f"{SCRIPT} >&- 2>&-", 0, ""),
        (f"{SCRIPT} 1</dev/null", 2, "error: cannot write to the standard output: Bad file descriptor\n"),
    ],
)
def test_an_output_that_cannot_be_written_is_no_traceback(command: str, code: int, error: str) -> None:
    done = subprocess.run(
        f"{sys.executable} {command}", shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (code, error)
