"""The .rec files of MXNet and InsightFace: records of an image header and an encoded image."""

import math
import struct
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lsoftmax.errors import UserError

from .positional import PositionalFile
from .recordio import WHOLE, Part, RecordError, next_record, parts_of, payload_of, scan

HEADER = struct.Struct("<IfQQ")  # flag, label, id, id2 (mxnet, image_recordio.h)
MAX_LABELS = 1024
CHECKED_OFFSETS = 1000


class Header(NamedTuple):
    """flag 0: one label, in the header; flag n: n labels behind it. The labels are float32, as they are stored."""

    flag: int
    labels: tuple[float, ...]
    id: int
    id2: int


class RecordFile:
    """`len(records)`; `records[i]` -> (header, encoded image), i in the file's order.

    Args:
        path: the .rec file.
        index: its .idx file; by default the one beside it, and without one the file is scanned once.
        repair: skip what is damaged instead of stopping there; the index is not used then.

    The file is opened at the first read, in every process anew. `notes` lists what was not as it should be.
    Raises RecordError (a UserError), with the position, for a damaged record.
    """

    def __init__(self, path: str | Path, index: str | Path | None = None, *, repair: bool = False) -> None:
        self._file = PositionalFile(path)
        self.path = self._file.path
        beside = self.path.with_suffix(".idx")
        self._index = Path(index).expanduser() if index is not None else beside if beside.is_file() else None
        self._repair = repair
        self.notes: list[str] = []

    @cached_property
    def offsets(self) -> np.ndarray:
        """(N,) int64: where the records begin, ascending."""
        if self._index is not None and not self._repair:
            offsets, reason = _read_index(self._index, self._file)
            if not reason:
                return offsets
            self.notes.append(f"{self._index}: {reason}; the index is ignored and {self.path.name} scanned")
        return np.fromiter(scan(self._file, self.notes.append, repair=self._repair), np.int64)

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, position: int) -> tuple[Header, bytes]:
        offset = int(self.offsets[position])
        payload = payload_of(self._file, offset)
        header, size = self._header(payload, offset, len(payload))
        return header, payload[size:]

    def headers(self) -> Iterator[tuple[Header, int]]:
        """Of every record the header and the number of bytes behind it, without reading those."""
        for offset in map(int, self.offsets):
            parts = parts_of(self._file, offset)
            if parts[0].flag == WHOLE:
                front, length = self._front(parts[0])
            else:
                front = payload_of(self._file, offset)
                length = len(front)
            header, size = self._header(front, offset, length)
            yield header, length - size

    def _front(self, part: Part) -> tuple[bytes, int]:
        """As much of the payload as the header and its labels take, and the length of all."""
        front = self._file.read(min(part.length, 64), part.offset)
        size = HEADER.size + 4 * int.from_bytes(front[:4], "little")
        if len(front) < size <= min(part.length, HEADER.size + 4 * MAX_LABELS):
            front = self._file.read(size, part.offset)
        return front, part.length

    def _header(self, payload: bytes, offset: int, length: int) -> tuple[Header, int]:
        """The header and its size; `payload` may be cut behind it, `length` is what was announced."""
        if length < HEADER.size:
            raise RecordError(self._file, offset, f"{length} bytes are too few for an image header")
        flag, label, id, id2 = HEADER.unpack_from(payload)
        if flag == 0:
            return Header(0, (label,), id, id2), HEADER.size
        size = HEADER.size + 4 * flag
        if flag > MAX_LABELS or size > length:
            raise RecordError(self._file, offset, f"{flag:,} labels in a record of {length:,} bytes")
        return Header(flag, struct.unpack_from(f"<{flag}f", payload, HEADER.size), id, id2), size


def class_label(header: Header) -> int:
    """The class, from the first label. ValueError if that is none: not whole, negative, or past what float32 counts."""
    label = header.labels[0]
    if not math.isfinite(label) or label < 0 or label != int(label) or label >= 2**24:
        raise ValueError(f"label {label} is no class number")
    return int(label)


def _read_index(path: Path, file: PositionalFile) -> tuple[np.ndarray, str]:
    """The offsets, and why they cannot be used ("" if they can)."""
    try:
        with path.open("rb") as lines:
            pairs = [line.split() for line in lines if line.strip()]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    none = np.empty(0, np.int64)
    if not pairs:
        return none, "empty"
    for number, pair in enumerate(pairs, start=1):
        if len(pair) != 2 or not all(word.isdigit() and len(word) < 19 for word in pair):
            return none, f"line {number} is no key and offset"
    if len({key for key, _ in pairs}) != len(pairs):
        return none, "one key occurs twice"
    offsets = np.unique(np.array([int(offset) for _, offset in pairs], dtype=np.int64))
    if len(offsets) != len(pairs):
        return none, "two keys share an offset"
    if offsets[-1] + 8 > file.size or (offsets % 4).any():
        return none, "an offset lies outside the file, or is no multiple of 4"
    for offset in (*offsets[:: max(1, len(offsets) // CHECKED_OFFSETS)], offsets[-1]):
        try:
            parts_of(file, int(offset))
        except RecordError as error:
            return none, f"is of another file, or this one is damaged ({error})"
    # A shortened index: the header record, which says how many images there are, is written last and missing too.
    end = parts_of(file, int(offsets[-1]))[-1].end
    if next_record(file, 0) < offsets[0] or next_record(file, end) < file.size:
        return none, f"leaves out what lies before byte {offsets[0]:,} or from byte {end:,} on"
    return offsets, ""
