"""images.npy while it is being written: rows in any order, by any number of processes."""

import io
import os
from pathlib import Path

import numpy as np

HEADER_BYTES = 128


class ImageFile:
    """(rows, 3, H, W) uint8 in .npy form, at its full size from the beginning."""

    def __init__(self, path: Path, rows: int, size: tuple[int, int]) -> None:
        self.path = path
        self.rows = rows
        self.shape = (3, *size)
        self.row_bytes = 3 * size[0] * size[1]

    def bytes_of(self, rows: int) -> int:
        return HEADER_BYTES + rows * self.row_bytes

    def create(self, *, anew: bool = False) -> None:
        """Make it unless it is there, or anew; it takes disk space only as rows are written."""
        if anew or not self.path.exists():
            beside = self.path.with_name(self.path.name + ".part")  # a kill leaves no file without its header
            with open(beside, "wb") as file:
                file.write(_header((self.rows, *self.shape)))
                file.truncate(self.bytes_of(self.rows))
            os.replace(beside, self.path)

    def write(self, first: int, images: np.ndarray) -> None:
        """Rows from `first` on. OSError if the disk refuses."""
        content = np.ascontiguousarray(images).data.cast("B")
        descriptor, position = os.open(self.path, os.O_WRONLY), self.bytes_of(first)
        try:
            while content:
                written = os.pwrite(descriptor, content, position)
                content, position = content[written:], position + written
        finally:
            os.close(descriptor)

    def flush(self) -> None:
        """To the disk."""
        descriptor = os.open(self.path, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def compact(self, keep: np.ndarray) -> np.ndarray:
        """Keep these rows, (rows,) bool, alone; returns (kept,) which row is where now.

        The last rows move into the gaps, so nothing that is still needed is overwritten: if this is interrupted, it can
        be done again.
        """
        kept = int(keep.sum())
        order = np.arange(kept)
        gaps, moving = np.flatnonzero(~keep[:kept]), kept + np.flatnonzero(keep[kept:])
        order[gaps] = moving
        if self.path.stat().st_size > self.bytes_of(kept):  # else it was done, and only the rest was interrupted
            with open(self.path, "r+b") as file:
                for target, source in zip(gaps.tolist(), moving.tolist(), strict=True):
                    row = os.pread(file.fileno(), self.row_bytes, self.bytes_of(source))
                    os.pwrite(file.fileno(), row, self.bytes_of(target))
                file.write(_header((kept, *self.shape)))
                file.flush()
                os.fsync(file.fileno())
                file.truncate(self.bytes_of(kept))
        self.flush()
        return order


def _header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    header = file.getvalue()
    assert len(header) == HEADER_BYTES  # numpy leaves room for the first dimension to grow
    return header
