"""Features in every kind of file, and what is refused."""

import json
import struct
import zipfile

import numpy as np
import pytest

from data.faces.features import read_features, read_listed, read_matrix
from lsoftmax.errors import UserError

GOLDEN = bytes.fromhex("03000000 01000000 04000000 05000000 0000803f 00000000 000000bf")  # (1, 0, -0.5)


@pytest.fixture
def file(tmp_path):
    def write(content, name="x.bin"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write


def head(rows, columns, step, kind):
    return struct.pack("<4i", rows, columns, step, kind)


def test_the_golden_matrix_is_read(file):
    assert read_matrix(file(GOLDEN)).tolist() == [1, 0, -0.5]


@pytest.mark.parametrize("shape", [(3, 1), (1, 3)])
@pytest.mark.parametrize(("kind", "code"), [(5, "f"), (6, "d")])
def test_rows_and_columns_of_either_float(file, shape, kind, code):
    size = struct.calcsize(code)
    for step in (size, size * shape[1]):
        content = head(*shape, step, kind) + struct.pack(f"<3{code}", 1, 2, 4)
        assert read_matrix(file(content)).tolist() == [1, 2, 4]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "its head alone takes 16"),
        (GOLDEN[:15], "its head alone takes 16"),
        (GOLDEN[:-1], "has 27 bytes, 3 x 1 numbers take 28"),
        (GOLDEN + b"\0", "has 29 bytes"),
        (head(3, 1, 4, 0) + GOLDEN[16:], "type 0"),
        (head(3, 1, 12, 5) + GOLDEN[16:], "step 12"),
        (head(2, 2, 8, 5) + bytes(16), "single row or column"),
        (head(-3, 1, 4, 5) + GOLDEN[16:], "-3 x 1"),
        (head(2**31 - 1, 1, 4, 5) + GOLDEN[16:], "has 28 bytes"),
        (head(1, 1, 4, 5) + bytes(4), "all zero"),
        (head(1, 1, 4, 5) + struct.pack("<f", float("nan")), "not finite"),
    ],
)
def test_a_matrix_that_is_none_is_named(file, content, part):
    with pytest.raises(UserError, match="x.bin") as caught:
        read_matrix(file(content))
    assert part in str(caught.value)


def test_a_folder_of_matrices_says_who_is_who(file, tmp_path):
    for name, start in (("b/2.bin", 3), ("a/1.bin", 1), ("b/1.bin", 2)):
        file(head(2, 1, 4, 5) + struct.pack("<2f", start, 0), name)
    found = read_features(tmp_path)
    assert found.names == ("a/1.bin", "b/1.bin", "b/2.bin") and found.ids == ("a", "b", "b")
    assert found.values.tolist() == [[1, 0], [2, 0], [3, 0]]


def test_matrices_of_mixed_width_name_both_files(file, tmp_path):
    file(GOLDEN, "1.bin")
    file(head(1, 1, 4, 5) + struct.pack("<f", 1), "2.bin")
    with pytest.raises(UserError, match=r"2.bin has 1 numbers, .*1.bin has 3"):
        read_features(tmp_path)


def test_a_list_gives_order_and_identities(file, tmp_path):
    file(GOLDEN, "f/A/1.png_alg.bin")
    file(head(3, 1, 4, 5) + struct.pack("<3f", 1, 2, 3), "f/B/1.png_alg.bin")
    listing = file(json.dumps({"path": ["B/1.png", "A/1.png"], "id": ["x", 7]}).encode(), "list.json")
    found = read_listed(tmp_path / "f", listing, "_alg.bin")
    assert found.values[0].tolist() == [1, 2, 3] and found.ids == ("x", "7")
    listing.write_text(json.dumps({"path": ["B/1.png"]}))
    assert read_listed(tmp_path / "f", listing, "_alg.bin").ids == ("B",)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "is no list"),
        ("[" * 100_000, "is no list"),
        ("[]", "is no list"),
        ('{"path": 3}', "is no list"),
        ('{"path": []}', "names no features"),
        ('{"path": ["a"], "id": []}', "0 ids for 1 paths"),
        ('{"path": ["../a"]}', "leads out"),
        ('{"path": ["/a"]}', "leads out"),
        ('{"path": ["a"]}', "cannot read the feature"),
    ],
)
def test_a_list_that_is_none_is_one_line(file, tmp_path, text, part):
    with pytest.raises(UserError) as caught:
        read_listed(tmp_path, file(text.encode(), "list.json"), ".bin")
    assert part in str(caught.value) and "\n" not in str(caught.value)


VALUES = np.array([[1.0, 2], [3, 4]], np.float32)


def test_arrays_with_and_without_names(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    np.savez(tmp_path / "b.npz", embeddings=VALUES, names=["p", "q"], ids=[5, 6])
    np.savez(tmp_path / "c.npz", features=VALUES)
    np.savez(tmp_path / "d.npz", **{"p/1.jpg": VALUES[0], "q/1.jpg": VALUES[1]})
    found = {name: read_features(tmp_path / name) for name in ("a.npy", "b.npz", "c.npz", "d.npz")}
    assert all(features.values.tolist() == VALUES.tolist() for features in found.values())
    assert isinstance(found["a.npy"].values, np.memmap)
    assert (found["b.npz"].names, found["b.npz"].ids) == (("p", "q"), ("5", "6"))
    assert found["d.npz"].names == ("p/1.jpg", "q/1.jpg") and found["c.npz"].names is None


def test_names_that_are_bytes_are_text(tmp_path):
    np.savez(tmp_path / "a.npz", embeddings=VALUES, names=np.array([b"A/1.jpg", b"B/1.jpg"]))
    assert read_features(tmp_path / "a.npz").names == ("A/1.jpg", "B/1.jpg")


@pytest.mark.parametrize(
    ("arrays", "part"),
    [
        ({}, "holds no arrays"),
        ({"embeddings": VALUES, "names": ["p"]}, "names has shape (1,) for 2 embeddings"),
        ({"embeddings": VALUES.astype(int)}, "found int64"),
        ({"a": VALUES[0], "b": VALUES[0, :1]}, "equal vectors by name"),
        ({"a": VALUES[0], "b": VALUES[0] * 0}, "row 1 is all zero"),
        ({"embeddings": VALUES * np.nan}, "row 0 is not finite"),
        ({"embeddings": np.array([[None]])}, "cannot read features"),
    ],
)
def test_an_npz_that_does_not_fit_is_one_line(tmp_path, arrays, part):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UserError, match="x.npz") as caught:
        read_features(tmp_path / "x.npz")
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_arrays_under_the_other_name_and_damaged_archives_are_one_line(file, tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    np.savez_compressed(tmp_path / "b.npz", embeddings=np.arange(2000.0).reshape(-1, 2) + 1)
    archive = (tmp_path / "b.npz").read_bytes()
    (tmp_path / "a.npy").rename(tmp_path / "array.npz")
    file(archive, "archive.npy")
    file(archive[:60] + b"\xff" * 40 + archive[100:], "damaged.npz")
    with zipfile.ZipFile(tmp_path / "texts.npz", "w") as texts:
        texts.writestr("embeddings.txt", "x")
    for name, part in (
        ("array.npz", "it is a .npy file"),
        ("archive.npy", "it is a .npz file"),
        ("damaged.npz", "cannot read"),
        ("texts.npz", "is no array"),
    ):
        with pytest.raises(UserError, match=name) as caught:
            read_features(tmp_path / name)
        assert part in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["a\0b", "a\ud800"])
def test_a_listed_path_that_no_file_can_have_is_one_line(file, tmp_path, path):
    listing = file(json.dumps({"path": [path]}).encode(), "list.json")
    with pytest.raises(UserError, match="cannot read the feature"):
        read_listed(tmp_path, listing, ".bin")


def test_floats_of_another_byte_order_are_turned_and_wider_ones_refused(tmp_path):
    np.save(tmp_path / "big.npy", VALUES.astype(">f4"))
    found = read_features(tmp_path / "big.npy").values
    assert found.dtype == np.float32 and found.dtype.isnative and found.tolist() == VALUES.tolist()
    np.save(tmp_path / "wide.npy", VALUES.astype(np.longdouble))
    with pytest.raises(UserError, match="wide.npy: .* save it as float64"):
        read_features(tmp_path / "wide.npy")


def test_other_files_are_refused(file, tmp_path):
    for content, name in ((b"", "x.npy"), (b"PK", "x.npz"), (b"x", "x.txt"), (b"\x93NUMPY\x01\x00", "y.npy")):
        with pytest.raises(UserError, match=name):
            read_features(file(content, name))
    with pytest.raises(UserError, match="does not exist"):
        read_features(tmp_path / "none.npy")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no \\*.bin"):
        read_features(tmp_path / "empty")
