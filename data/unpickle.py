"""Pickled dictionaries of bytes, numbers, lists and uint8 arrays, read without trusting them.

A pickle is a program. This reader lets it name five things and gives it a harmless stand-in for each, so nothing of
numpy, let alone of anything else, runs at its command; and it bounds what the program may do before starting it.
"""

import io
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np


class UnsafePickle(Exception):
    """The pickle asks for something that plain data does not need."""


def load_dict(content: bytes, *, max_opcodes: int) -> dict[str, Any]:
    """The dictionary in `content`: keys as text, strings of Python 2 as bytes, arrays as uint8 `np.ndarray`.

    Raises UnsafePickle for a pickle that wants more than that, or is longer than `max_opcodes`, and for a damaged one
    whatever pickle, numpy and the stand-ins raise.
    """
    check_opcodes(content, max_opcodes)
    found = PlainUnpickler(content).load()
    if not isinstance(found, dict):
        raise UnsafePickle(f"holds a {type(found).__name__} instead of a dictionary")
    return {as_text(key): value.to_numpy() if isinstance(value, PlainArray) else value for key, value in found.items()}


def check_opcodes(content: bytes, max_opcodes: int) -> None:
    """UnsafePickle if the program is longer than that, before any of it runs."""
    # Opcodes make objects and memo positions reserve memory (all of it, up to 32 GB for position 2^31 in five bytes):
    # count the ones, compare the others. genops also notices lengths beyond the end of the file.
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if count >= max_opcodes or (opcode.name.endswith("PUT") and int(argument or 0) >= max_opcodes):
            raise UnsafePickle("longer than such data need")


class PlainUnpickler(pickle.Unpickler):
    """Knows the names of uint8 arrays and of bytes; a format that needs more adds them to `names`."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._encodable = 2 * len(content)  # one text may be encoded many times
        self.names: dict[tuple[str, str], Callable[..., Any]] = {
            ("numpy", "ndarray"): PlainArray,
            ("numpy", "dtype"): PlainType,
            ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): _reconstruct,  # numpy 2
            ("_codecs", "encode"): self._encode,  # how Python 3 writes bytes in protocol 2
        }

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in self.names:
            raise UnsafePickle(f"asks for {module}.{name}, which is no plain data")
        return self.names[module, name]

    def persistent_load(self, pid: object) -> None:
        raise UnsafePickle("refers to data outside the file")

    def _encode(self, text: str, encoding: str | bytes) -> bytes:
        if not isinstance(encoding, str | bytes) or as_text(encoding) not in ("latin1", "latin-1"):
            raise UnsafePickle("encodes text otherwise than as latin1")
        self._encodable -= len(text)
        if self._encodable < 0:
            raise UnsafePickle("longer than such data need")
        return text.encode("latin1")


class PlainType:
    """Stands in for `numpy.dtype`, and for the one dtype that images have."""

    codes: tuple[str, ...] = ("u1", "|u1")

    def __init__(self, code: str | bytes, *_: object) -> None:
        if not isinstance(code, str | bytes):  # its words may be longer than memory: tuples in tuples
            raise UnsafePickle("holds an array of a type that no text names")
        if as_text(code) not in self.codes:
            raise UnsafePickle(f"holds an array of {code!r} instead of bytes")

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment: nothing to a byte."""


class PlainArray:
    """Stands in for `numpy.ndarray`: keeps the state that numpy would have been given."""

    shape: tuple[int, ...] = (0,)
    content: bytes | bytearray = b""

    def __setstate__(self, state: tuple[int, tuple[int, ...], PlainType, bool, bytes]) -> None:
        _, self.shape, dtype, is_fortran, self.content = state
        if not isinstance(dtype, PlainType) or is_fortran:
            raise UnsafePickle("holds an array that is not of bytes, row after row")

    def to_numpy(self) -> np.ndarray:
        return np.frombuffer(self.content, dtype=np.uint8).reshape(self.shape)


def _reconstruct(*_: object) -> PlainArray:
    """Stands in for numpy's function of that name, which makes the empty array that then gets its state."""
    return PlainArray()


def as_text(value: object) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)
