"""read_bin: every way the packs are written, and every way they could do harm."""

import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from data.faces import bin_pack, read_bin
from data.unpickle import UnsafePickle
from lsoftmax.errors import UserError

PROTOCOLS = range(6)


class Call:
    def __init__(self, function, *arguments) -> None:
        self.recipe = function, arguments

    def __reduce__(self):
        return self.recipe


@pytest.fixture
def write(tmp_path: Path):
    def to(content: bytes) -> Path:
        path = tmp_path / "lfw.bin"
        path.write_bytes(content)
        return path

    return to


@pytest.fixture(scope="module")
def images(face) -> list[bytes]:
    return [face(seed, 8, 8, "PNG" if seed == 3 else "JPEG") for seed in range(4)]


def as_bytes(image: bytes) -> bytes:
    return image


def as_column(image: bytes) -> np.ndarray:
    return np.frombuffer(image, np.uint8).reshape(-1, 1)


def as_writable_row(image: bytes) -> np.ndarray:
    return np.frombuffer(image, np.uint8).copy()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("element", [as_bytes, as_column, as_writable_row])
@pytest.mark.parametrize("labels", [list, tuple, np.array, lambda same: [np.bool_(value) for value in same]])
def test_every_form_gives_the_images_and_the_labels(write, images, protocol, element, labels) -> None:
    content = pickle.dumps(([element(image) for image in images], labels([True, False])), protocol=protocol)
    found, same = read_bin(write(content))
    assert found == images and all(type(image) is bytes for image in found)
    assert same.dtype == bool and same.tolist() == [True, False]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_names_of_numpy_1_are_read_too(write, images, protocol) -> None:
    content = pickle.dumps(([as_column(image) for image in images], [True, np.bool_(False)]), protocol=protocol)
    if protocol < 4:  # there the name is a line of its own, without a length
        older = content.replace(b"numpy._core.", b"numpy.core.")
        assert older != content
        assert read_bin(write(older))[0] == images


def test_a_pack_of_python_2_is_read(write, images) -> None:
    # As cPickle wrote it: 8-bit strings, which Python 3 would take for text.
    def string(image: bytes) -> bytes:
        return b"T" + len(image).to_bytes(4, "little") + image

    content = b"\x80\x02](" + b"".join(map(string, images)) + b"e]q\x01(\x88\x89e\x86q\x02."
    found, same = read_bin(write(content))
    assert found == images and same.tolist() == [True, False]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("function", [os.system, eval, exec, os.mkdir, getattr, open, np.fromfile, bytes, bytearray])
def test_a_call_of_anything_else_is_refused_and_not_made(write, tmp_path, images, function, protocol) -> None:
    mark = tmp_path / "mark"
    call = Call(function, 2**31 if function in (bytes, bytearray) else str(mark))
    with pytest.raises(UserError, match=r"lfw\.bin: not a verification pack"):
        read_bin(write(pickle.dumps(([call, *images[:3]], [True, False]), protocol=protocol)))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ([b"\xff\xd8\xff"] * 2, "holds 2 images for"),
        (b"", "no pair of images and labels"),
        (([b"\xff\xd8\xff"] * 3, [True, False]), "3 images for 2 pairs"),
        (([], []), "0 images for 0 pairs"),
        (([b"\xff\xd8\xff"] * 2, [1]), "label 0 is no truth value"),
        (([b"\xff\xd8\xff"] * 2, ["yes"]), "label 0 is no truth value"),
        (([b"\xff\xd8\xff", b"GIF89a"], [True]), "image 1 is neither JPEG nor PNG"),
        (([b"\xff\xd8\xff", 2**40], [True]), "image 1 is neither JPEG nor PNG"),
        (([np.zeros(4, np.float32), b"\xff\xd8\xff"], [True]), "'f4' instead of bytes"),
        (([np.zeros(4, np.object_), b"\xff\xd8\xff"], [True]), "'O8' instead of bytes"),
        ({"a": 1}, "DICT"),
    ],
)
def test_other_contents_are_refused_by_name(write, value, part) -> None:
    with pytest.raises(UserError) as caught:
        read_bin(write(pickle.dumps(value, protocol=2)))
    if "images for" in part and isinstance(value, list):
        part = "no two lists"
    assert part in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"(S'touch mark'\nios\nsystem\n.", id="INST"),
        pytest.param(b"(cos\nsystem\nS'touch mark'\no.", id="OBJ"),
        pytest.param(b"\x80\x02cos\nsystem\n)\x81.", id="NEWOBJ"),
        pytest.param(b"Pmark\n.", id="persistent id"),
        pytest.param(b"\x80\x02K\x01Q.", id="binary persistent id"),
        pytest.param(b"\x80\x02\x82\x01.", id="extension"),
        pytest.param(b"\x80\x05\x97.", id="buffer outside"),
        pytest.param(b"\x80\x02cbuiltins\nbytes\nJ\xff\xff\xff\x7f\x85R.", id="bytes of 2^31"),
        pytest.param(b"\x80\x04\x8e\xff\xff\xff\xff\xff\x00\x00\x00.", id="a string of 2^40"),
        pytest.param(b"\x80\x02]r\xff\xff\xff\x7f.", id="memo position 2^31"),
        pytest.param(b"\x80\x02" + b"]" * 100_000 + b".", id="many objects"),
        pytest.param(b"", id="empty"),
    ],
)
def test_short_attacks_cost_nothing_and_do_nothing(write, content, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("data.faces.bin_pack.MAX_OPCODES", 10_000)
    path = write(content)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="not a verification pack"):
            read_bin(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
    assert [file.name for file in tmp_path.iterdir()] == ["lfw.bin"]


def test_tuples_in_tuples_as_a_type_are_refused_at_once(write) -> None:
    tuples = b"".join(b"h" + bytes([k]) + b"h" + bytes([k]) + b"\x86q" + bytes([k + 1]) + b"0" for k in range(40))
    code = b"\x80\x02)q\x000" + tuples + b"cnumpy\ndtype\nh(\x85R."
    with pytest.raises(UserError, match="of a type that no text names"):
        read_bin(write(code))


def test_an_image_that_is_named_often_is_held_once(write, images) -> None:
    image = bytearray(images[0])
    found, _ = read_bin(write(pickle.dumps(([image] * 40, [True] * 20), protocol=5)))
    assert len({id(content) for content in found}) == 1 and found[0] == images[0]


def test_an_array_whose_bytes_are_a_number_takes_no_memory(write) -> None:
    state = b"(K\x01K\x01\x85cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R\x89J\xff\xff\xff\x7ftb"
    array = b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R" + state
    content = b"\x80\x03](" + array * 2 + b"e]\x88a\x86."
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="neither JPEG nor PNG"):
            read_bin(write(content))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("raw", [b"", b"\x01\x00"])
def test_a_truth_value_is_one_byte(raw) -> None:
    with pytest.raises(UnsafePickle, match="no truth value"):
        bin_pack._scalar(bin_pack._ByteOrBool("b1"), raw)


def test_a_file_beyond_the_limit_is_not_read(write, monkeypatch) -> None:
    monkeypatch.setattr("data.faces.bin_pack.MAX_BYTES", 100)
    with pytest.raises(UserError, match="longer than the 100 bytes"):
        read_bin(write(b"x" * 101))


def test_a_missing_file_is_one_line(tmp_path) -> None:
    with pytest.raises(UserError, match=r"none\.bin: cannot be read"):
        read_bin(tmp_path / "none.bin")
