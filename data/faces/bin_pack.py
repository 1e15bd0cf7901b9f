"""Verification packs of InsightFace (lfw.bin, agedb_30.bin, ...): one pickle of (encoded images, same or not).

A pickle is a program; this one is read as data. It may name a dozen harmless things (found by pickling both
element types under every protocol), each of which gets a stand-in; no NumPy object is built.
"""

import os
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from data.unpickle import PlainArray, PlainType, PlainUnpickler, UnsafePickle, check_opcodes
from lsoftmax.errors import UserError, one_line

MAX_BYTES = 2 * 2**30
MAX_OPCODES = 2_000_000  # seven thousand pairs take 0.3 million
FORBIDDEN = {
    *("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER"),
    *("READONLY_BUFFER", "DUP", "DICT", "EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_SET", "ADDITEMS", "FROZENSET"),
}
STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def read_bin(path: str | Path) -> tuple[list[bytes], np.ndarray]:
    """(2P encoded images, (P,) bool): images 2k and 2k + 1 are pair k, `same[k]` says if they show one person.

    Nothing that the file names is executed. Raises UserError for a file that is no such pack, is damaged, or wants more
    than to hold images.
    """
    path = Path(path).expanduser()
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size  # read() would reserve all that it may read
            if size > MAX_BYTES:
                raise UserError(f"{path}: longer than the {MAX_BYTES:,} bytes such a pack can have")
            content = file.read(size)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        return _pairs(_load(content))
    except Exception as error:  # a damaged pickle raises whatever its first wrong byte leads to
        reason = one_line(error)
        raise UserError(f"{path}: not a verification pack, or a damaged one ({reason[:300]})") from error


def _load(content: bytes) -> Any:
    check_opcodes(content, MAX_OPCODES)
    for opcode, _, position in pickletools.genops(content):
        if opcode.name in FORBIDDEN:
            raise UnsafePickle(f"uses {opcode.name} at byte {position}, which such packs do not need")
    return _PackUnpickler(content).load()


def _pairs(found: Any) -> tuple[list[bytes], np.ndarray]:
    if not isinstance(found, list | tuple) or len(found) != 2:
        raise UnsafePickle("holds no pair of images and labels")
    images, same = found
    if isinstance(same, PlainArray) and isinstance(same.content, bytes | bytearray):
        same = [bool(byte) for byte in same.content]
    if not isinstance(images, list | tuple) or not isinstance(same, list | tuple):
        raise UnsafePickle("holds no two lists")
    if not same or len(images) != 2 * len(same):
        raise UnsafePickle(f"holds {len(images)} images for {len(same)} pairs")
    if not all(isinstance(value, bool) for value in same):
        raise UnsafePickle(f"label {next(k for k, v in enumerate(same) if not isinstance(v, bool))} is no truth value")
    copies: dict[int, bytes] = {}  # one of each object: a thousand entries may name the same
    return [_encoded(position, image, copies) for position, image in enumerate(images)], np.array(same, dtype=bool)


def _encoded(position: int, image: Any, copies: dict[int, bytes]) -> bytes:
    """A file's content: as bytes, or as the column of uint8 that OpenCV's encoder returns."""
    content = image.content if isinstance(image, PlainArray) else image
    if not isinstance(content, bytes | bytearray) or not content.startswith(STARTS):
        raise UnsafePickle(f"image {position} is neither JPEG nor PNG")
    if isinstance(content, bytes):
        return content
    if id(content) not in copies:
        copies[id(content)] = bytes(content)
    return copies[id(content)]


class _PackUnpickler(PlainUnpickler):
    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.names["numpy", "dtype"] = _ByteOrBool
        for module in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
            self.names[f"{module}.multiarray", "scalar"] = _scalar
            self.names[f"{module}.numeric", "_frombuffer"] = _frombuffer
        for module in ("builtins", "__builtin__"):  # Python 3 and 2
            self.names[module, "bytes"] = _bytes
            self.names[module, "bool"] = _bool


class _ByteOrBool(PlainType):
    codes = ("u1", "|u1", "b1", "|b1")


def _scalar(dtype: object, raw: object) -> bool:
    """Stands in for numpy.bool."""
    if not isinstance(dtype, _ByteOrBool) or not isinstance(raw, bytes) or len(raw) != 1:
        raise UnsafePickle("holds a number that is no truth value")
    return bool(raw[0])


def _frombuffer(buffer: object, *_: object) -> PlainArray:
    """Stands in for numpy's function that makes an array of protocol 5."""
    if not isinstance(buffer, bytes | bytearray):
        raise UnsafePickle("holds an array without bytes")
    array = PlainArray()
    array.content = buffer
    return array


def _bytes(*arguments: object) -> bytes:
    """Stands in for `bytes`, which Python 3 calls for an empty string in protocol 2."""
    if arguments:
        raise UnsafePickle("makes bytes of something else")
    return b""


def _bool(value: object = False) -> bool:
    if not isinstance(value, int):
        raise UnsafePickle("holds a truth value of something else")
    return bool(value)
