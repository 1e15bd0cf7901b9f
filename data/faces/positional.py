"""A file read at positions, by any number of processes."""

import os
from pathlib import Path
from typing import Any

from lsoftmax.errors import UserError


class PositionalFile:
    """Opened at the first read, anew in every process; it can be pickled and used after a fork."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self._descriptor: int | None = None
        self._process: int | None = None
        if not os.path.isfile(self.path):  # not Path.is_file, which raises where a folder may not be entered
            raise UserError(f"{self.path}: no such file")
        self.size = os.path.getsize(self.path)

    def read(self, length: int, offset: int) -> bytes:
        """At most `length` bytes from `offset` on, fewer at the end of the file."""
        try:
            if self._descriptor is None or self._process != os.getpid():
                self._descriptor, self._process = os.open(self.path, os.O_RDONLY), os.getpid()
            return os.pread(self._descriptor, length, offset)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror or error})") from None

    def close(self) -> None:
        if self._descriptor is not None and self._process == os.getpid():
            os.close(self._descriptor)
        self._descriptor = None

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_descriptor": None, "_process": None}
