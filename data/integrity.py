"""Files are read whole, up to a size that is known beforehand, and compared with their published checksums."""

import gzip
import hashlib
import os
import zlib
from pathlib import Path

from lsoftmax.errors import UserError


def existing(path: Path) -> Path | None:
    """The file itself, or the same with .gz behind its name if only that is there; None if neither is."""
    candidates = (path, path.with_name(f"{path.name}.gz"))
    # os.path.exists: Path.exists raises where a folder may not be entered.
    return next((candidate for candidate in candidates if os.path.exists(candidate)), None)


def read_at_most(path: Path, limit: int) -> bytes:
    """The bytes of a file, unpacked if its name ends in .gz; a file larger than `limit` is refused, not read."""
    try:
        # gzip stops at the limit too: a small archive may hold more than the memory does.
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(limit + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: not a whole gzip file ({error}); {remedy()}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(content) > limit:
        raise UserError(f"{path}: longer than the {limit} bytes such a file can have; {remedy()}")
    return content


def check_md5(path: Path, content: bytes, published: str) -> None:
    """Raise UserError unless `content` is what was published."""
    # usedforsecurity=False: a checksum against damage; without it md5 is missing on FIPS machines.
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != published:
        raise UserError(
            f"{path}: not the published file (md5 {found} instead of {published}); {remedy()}, "
            "or accept other files of the same format with dataset.check_integrity=false"
        )


def remedy() -> str:
    """What to do about any broken file."""
    return "delete it and download it again (data_download=true; dataset=mnist5k needs no download)"
