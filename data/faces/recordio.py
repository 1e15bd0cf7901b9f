"""RecordIO framing, as dmlc-core writes it (recordio.h): what lies where in a .rec file.

A part is `u32 magic, u32 flag and length, payload, zeros up to a multiple of 4`, little-endian. A payload in which the
magic word occurs at a multiple of 4 is cut there into several parts; the word itself is left out, and put back here.
"""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from lsoftmax.errors import UserError

from .decode import IMAGE_BYTES
from .positional import PositionalFile

MAGIC = struct.pack("<I", 0xCED7230A)
WHOLE, FIRST, MIDDLE, LAST = range(4)
MAX_PARTS = 1024  # by chance the magic word occurs in one image of a million
CHUNK = 2**20


class RecordError(UserError):
    """A damaged record; `offset` says where it begins."""

    def __init__(self, file: PositionalFile, offset: int, reason: str) -> None:
        super().__init__(f"{file.path}, byte {offset:,}: {reason}")
        self.offset = offset


class CutRecord(RecordError):
    """It reaches beyond the end of the file."""


class Part(NamedTuple):
    flag: int
    offset: int  # of the payload
    length: int  # of the payload
    end: int  # after the padding


def parts_of(file: PositionalFile, offset: int) -> list[Part]:
    """The parts of the record at `offset`. RecordError for anything but one whole record within the limit."""
    parts: list[Part] = []
    position, total = offset, 0
    while True:
        part = _part(file, offset, position)
        if (part.flag in (WHOLE, FIRST)) is bool(parts):
            raise RecordError(file, offset, f"part {len(parts) + 1} of a record has flag {part.flag}: wrong order")
        total += part.length + 4
        if total - 4 > IMAGE_BYTES or len(parts) == MAX_PARTS:
            raise RecordError(file, offset, f"a record of over {IMAGE_BYTES:,} bytes or {MAX_PARTS} parts is no image")
        parts.append(part)
        if part.flag in (WHOLE, LAST):
            return parts
        if part.length % 4:
            raise RecordError(file, offset, f"part {len(parts)} of a record has {part.length} bytes, no multiple of 4")
        position = part.end


def payload_of(file: PositionalFile, offset: int) -> bytes:
    """What was written as one record."""
    parts = parts_of(file, offset)
    return MAGIC.join(file.read(part.length, part.offset) for part in parts)


def scan(file: PositionalFile, note: Callable[[str], None], *, repair: bool = False) -> Iterator[int]:
    """The offset of every record, in the file's order, without reading payloads.

    An interrupted copy ends in a cut record or in zeros: that is noted, and the rest is used. Anything else that is
    damaged is a RecordError, or, with `repair`, skipped up to the next place where a record can begin.
    """
    offset = skipped = 0
    while offset < file.size:
        try:
            parts = parts_of(file, offset)
        except RecordError as error:
            if isinstance(error, CutRecord) and next_record(file, offset + 4) == file.size:
                note(f"{error}; the file ends inside this last record, which is left out")
                return
            if _is_zero(file, offset):
                note(f"{file.path}: only zeros from byte {offset:,} on, as after an interrupted copy")
                return
            if not repair:
                raise UserError(f"{error}; repair=true skips what is damaged") from None
            following = next_record(file, offset + 4)
            skipped += following - offset
            offset = following
            continue
        yield offset
        offset = parts[-1].end
    if skipped:
        note(f"{file.path}: {skipped:,} damaged bytes were skipped")


def _part(file: PositionalFile, record: int, offset: int) -> Part:
    head = file.read(8, offset)
    if not MAGIC.startswith(head[:4]):
        raise RecordError(file, record, f"no record here: found {head[:4].hex(' ')} instead of {MAGIC.hex(' ')}")
    if len(head) < 8:
        raise CutRecord(file, record, "the record is cut off")
    word = int.from_bytes(head[4:], "little")
    flag, length = word >> 29, word & 0x1FFFFFFF
    if flag > LAST:
        raise RecordError(file, record, f"a part has flag {flag}")
    end = offset + 8 + (length + 3) // 4 * 4
    if end > file.size:
        raise CutRecord(file, record, f"{length:,} bytes are announced, {max(file.size - offset - 8, 0):,} are left")
    return Part(flag, offset + 8, length, end)


def _is_zero(file: PositionalFile, offset: int) -> bool:
    while chunk := file.read(CHUNK, offset):
        if chunk.count(0) != len(chunk):
            return False
        offset += len(chunk)
    return True


def next_record(file: PositionalFile, offset: int) -> int:
    """The next multiple of 4 where a whole record begins; the file's end if there is none."""
    offset += -offset % 4
    while chunk := file.read(CHUNK + 4, offset):
        found = chunk.find(MAGIC)
        while found >= 0:
            if found % 4 == 0 and _begins(file, offset + found):
                return offset + found
            found = chunk.find(MAGIC, found + 1)
        offset += CHUNK
    return file.size


def _begins(file: PositionalFile, offset: int) -> bool:
    try:
        parts_of(file, offset)
    except RecordError:
        return False
    return True
