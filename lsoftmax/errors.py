"""The one error a user can mend, and what others' errors say, in one line."""


class UserError(Exception):
    """Something the user can mend: configuration, data, checkpoint, disk, device.

    The message is one line that says which key or file, which value, and what to do. Commands print it as
    `error: ...` and leave with exit code 2, without a traceback.
    """


def one_line(error: BaseException) -> str:
    """All that it says, on one line; its name if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: BaseException) -> str:
    """What it says first: torch adds where in its sources, over many lines; its name if it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
