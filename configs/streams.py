"""Standard output and error, which a caller may have closed (>&-), pointed at a full disk, or left (| head)."""

import io
import os
import sys


def open_streams() -> None:
    """Those that the caller has closed go nowhere: Python has None for them. A name that is no text is escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            silence(name)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def silence(name: str) -> None:
    """What is written to it from here on goes nowhere."""
    setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def refused(error: OSError) -> str | None:
    """What a write to the standard output came to, in one line; None if its reader has gone (| head). Silences it."""
    silence("stdout")
    return None if isinstance(error, BrokenPipeError) else f"cannot write to the standard output: {error.strerror}"
