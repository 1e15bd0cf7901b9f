"""Pickles that want to do more than hold data."""

import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import data
from data import cifar
from data.unpickle import UnsafePickle, load_dict
from lsoftmax.errors import UserError


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments) -> None:
        self.recipe = function, arguments

    def __reduce__(self):
        return self.recipe


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("function", [os.system, eval, exec, os.mkdir, getattr, __import__, open, np.fromfile])
def test_a_call_of_anything_else_is_refused_and_not_made(tmp_path: Path, function, protocol: int) -> None:
    mark = tmp_path / "mark"
    argument = f"touch {mark}" if function is os.system else str(mark)
    with pytest.raises(UnsafePickle, match="no plain data"):
        load_dict(pickle.dumps({"data": Call(function, argument)}, protocol=protocol), max_opcodes=100)
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"(S'touch mark'\nios\nsystem\n.", id="INST"),
        pytest.param(b"(cos\nsystem\nS'touch mark'\no.", id="OBJ"),
        pytest.param(b"\x80\x02cos\nsystem\n)\x81.", id="NEWOBJ"),
        pytest.param(b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", id="dotted name"),
        pytest.param(b"Pmark\n.", id="persistent id"),
        pytest.param(b"\x80\x02]q\x00.", id="a list"),
        pytest.param(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00bz2\x86R.", id="another codec"),
    ],
)
def test_other_ways_of_calling_are_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafePickle):
        load_dict(content, max_opcodes=100)
    assert not list(tmp_path.iterdir())


def test_a_pickle_cannot_reach_numpy_s_own_dtypes() -> None:
    swapped = b"(K\x03X\x01\x00\x00\x00>NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    with pytest.raises(UnsafePickle, match="instead of a dictionary"):
        load_dict(b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R" + swapped + b".", max_opcodes=100)
    assert np.dtype("u1").byteorder == "|"


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_arrays_bytes_and_lists_come_back(protocol: int) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(4, 64)
    found = load_dict(
        pickle.dumps({b"data": pixels, "labels": [1, 2], b"n": b"\xff"}, protocol=protocol), max_opcodes=500
    )
    assert np.array_equal(found["data"], pixels)
    assert found["labels"] == [1, 2] and found["n"] == b"\xff"


def test_numpy_1_and_numpy_2_names_are_read_alike() -> None:
    content = pickle.dumps({"data": np.ones(3, dtype=np.uint8)}, protocol=2)
    assert b"numpy._core.multiarray" in content
    older = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert load_dict(older, max_opcodes=100)["data"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\x80\x02}r\xff\xff\xff\x7f.", id="memo position 2^31"),
        pytest.param(b"}p2147483647\n.", id="memo position 2^31 as text"),
        pytest.param(b"\x80\x04\x8e\xff\xff\xff\xff\xff\x00\x00\x00.", id="bytes of 2^40"),
        pytest.param(b"\x80\x04\x95\xff\xff\xff\xff\xff\x00\x00\x00}.", id="frame of 2^40"),
        pytest.param(b"\x80\x02" + b"}" * 2_000 + b".", id="many objects"),
    ],
)
def test_a_short_pickle_takes_no_memory(content: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises((UnsafePickle, ValueError, pickle.UnpicklingError)):
            load_dict(content, max_opcodes=1_000)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_an_array_takes_the_memory_of_its_bytes_not_of_its_shape() -> None:
    content = pickle.dumps({"data": np.zeros((2, 50), dtype=np.uint8)}, protocol=3)
    larger = content.replace(b"K\x02K2\x86", b"J\xff\xff\xff\x7fK2\x86")  # (2^31 - 1, 50)
    assert larger != content
    with pytest.raises(ValueError, match="reshape"):
        load_dict(larger, max_opcodes=1_000)


def test_one_text_encoded_a_thousand_times_is_refused() -> None:
    encode = b"h\x00h\x01h\x02\x86R0"
    prefix = (
        b"\x80\x02c_codecs\nencode\nq\x000X\x10\x27\x00\x00" + b"a" * 10_000 + b"q\x010X\x06\x00\x00\x00latin1q\x020"
    )
    with pytest.raises(UnsafePickle, match="longer"):
        load_dict(prefix + encode * 1_000 + b"}.", max_opcodes=100_000)


def test_a_hostile_cifar_file_is_one_line_for_the_user(tiny_cifar10: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    hostile = pickle.dumps({"data": Call(os.system, f"touch {mark}")}, protocol=2)
    (tiny_cifar10 / cifar.CIFAR10.folder / "test_batch").write_bytes(hostile)
    with pytest.raises(UserError, match="test_batch: .*asks for posix.system, which is no plain data") as caught:
        data.load("cifar10", tiny_cifar10, download=False, check_integrity=False)
    assert "\n" not in str(caught.value)
    assert not mark.exists()
