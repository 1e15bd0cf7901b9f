"""Images in a zip file, read in place: nothing is ever extracted, so no name in it can make anything be written."""

import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from lsoftmax.errors import UserError, one_line

from .decode import IMAGE_BYTES, ImageError
from .names import OF_ANOTHER_KIND, is_image_name, is_other_image, relative
from .positional import PositionalFile

MAX_MEMBERS = 10_000_000
MAX_RATIO, EXEMPT = 200, 2**16  # unpacked over packed size; what unpacks to less is exempt
LOCAL_HEADER = 30


class Member(NamedTuple):
    offset: int  # of its local header
    packed: int
    size: int
    crc: int
    method: int


class ZipImages:
    """`names` (those of images, in the archive's order) and `read(name)`; usable by many processes.

    `left_out` says which members were passed over and why. UserError for what is no zip file or is encrypted.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = PositionalFile(path)
        self.path = self._file.path
        self.left_out: list[tuple[str, str]] = []
        self._members: dict[str, Member] = {}
        self.others: dict[str, Member] = {}  # not images: lists
        for info in _directory(self.path):
            self._add(info)

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def checksums(self) -> list[int]:
        """CRC-32 of every image, as the directory has them."""
        return [member.crc for member in self._members.values()]

    def read(self, name: str) -> bytes:
        """The member's bytes. ImageError if it is damaged or unpacks to more than an image can be."""
        member = self._members.get(name) or self.others[name]
        if member.size > IMAGE_BYTES or (member.size > EXEMPT and member.size > MAX_RATIO * member.packed):
            raise ImageError(f"{member.packed:,} bytes claim to unpack to {member.size:,}, which no image does")
        if member.offset + LOCAL_HEADER + member.packed > self._file.size:
            raise ImageError("the archive is damaged: a member reaches beyond its end")
        header = self._file.read(LOCAL_HEADER, member.offset)
        if len(header) < LOCAL_HEADER or header[:4] != b"PK\3\4":
            raise ImageError("the archive is damaged: no member where its directory says")
        name_length, extra_length = struct.unpack_from("<HH", header, 26)
        packed = self._file.read(member.packed, member.offset + LOCAL_HEADER + name_length + extra_length)
        content = packed if member.method == zipfile.ZIP_STORED else _inflated(packed, member.size)
        if len(content) != member.size or zlib.crc32(content) != member.crc:
            raise ImageError("the archive is damaged: not the bytes its directory promises")
        return content

    def _add(self, info: zipfile.ZipInfo) -> None:
        raw, name = info.filename, relative(info.orig_filename)
        if raw.endswith(("/", "\\")):
            return
        if info.flag_bits & 1:
            raise UserError(f"{self.path}: {raw[:80]!r} is encrypted; unpack it with its password first")
        member = Member(info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type)
        if name is not None and not is_image_name(name):
            self.others[name] = member
            if is_other_image(name):
                self.left_out.append((raw, OF_ANOTHER_KIND))
            return
        reason = ""
        if name is None:
            reason = "its path leaves the archive"
        elif stat.S_ISLNK(info.external_attr >> 16):
            reason = "a symbolic link"
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            reason = f"compression method {info.compress_type}; only deflate is read"
        elif info.file_size == 0:
            reason = "empty"
        elif name in self._members:
            reason = "a second member of that name"
        if reason or name is None:
            self.left_out.append((raw, reason))
        else:
            self._members[name] = member


def _directory(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # zipfile raises whatever a damaged directory leads to
        raise UserError(f"{path}: not a whole zip file ({one_line(error)})") from None
    if len(members) > MAX_MEMBERS:
        raise UserError(f"{path}: {len(members):,} members, more than the {MAX_MEMBERS:,} of a face set")
    return members


def _inflated(packed: bytes, size: int) -> bytes:
    """At most one byte more than promised."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + 1)
    except zlib.error as error:
        raise ImageError(f"the archive is damaged ({error})") from None
