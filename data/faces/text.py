"""Lines of list files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lsoftmax.errors import UserError

LIST_BYTES = 2**30
MAX_LINE = 131_072  # characters: what the csv module takes as one field
SNIFFED = 100


def read_lines(path: str | Path) -> list[str]:
    """Its lines without their ends; UTF-8, with or without a byte order mark. UserError if it cannot be read."""
    path = Path(path).expanduser()
    try:
        if path.stat().st_size > LIST_BYTES:
            raise UserError(f"{path}: longer than the {LIST_BYTES:,} bytes a list can have")
        text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    return lines_of(text, path)


def lines_of(text: str, path: str | Path) -> list[str]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            raise UserError(f"{path}, line {number}: a zero byte; this is no list")
        if len(line) > MAX_LINE:
            raise UserError(f"{path}, line {number}: {len(line):,} characters; this is no list")
    return lines


def numbered(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(line number, line) of those that hold something."""
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def separator(lines: Sequence[str]) -> str | None:
    """What parts the fields of all of these lines: a tab, a comma, or (None) any blanks."""
    for candidate in ("\t", ","):
        if lines and all(candidate in line for line in lines):
            return candidate
    return None
