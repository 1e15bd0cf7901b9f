"""Mutated files: every one is read, or is one clear line; none executes, hangs or takes memory that is not its own."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.faces import PackedFaces, RecordFile, decode, read_bin
from data.faces.landmarks import read_landmarks
from data.faces.lists import read_list
from data.faces.sources import open_source
from data.faces.templates import SPHEREFACE
from lsoftmax.errors import UserError

from .conftest import image_record

SPECIAL = [0, 1, 4, 127, 128, 255]


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """A few bytes changed, a stretch cut out, doubled or zeroed, or the end cut off."""
    data = bytearray(content)
    for _ in range(random.integers(1, 4)):
        if not data:
            break
        at, length = int(random.integers(len(data))), int(random.integers(1, 40))
        match random.integers(7):
            case 0:
                data[at] ^= 1 << int(random.integers(8))
            case 1:
                data[at] = int(random.choice(SPECIAL))
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                data[at : at + length] = bytes(len(data[at : at + length]))
            case 5:
                data[at : at + 4] = random.bytes(4)
            case 6:
                del data[at:]
    return bytes(data)


@pytest.fixture(params=[200, pytest.param(3_000, marks=pytest.mark.slow)])
def survives(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., float]:
    """Read mutations of the content; returns the share that was refused."""

    def run(content: bytes, read: Callable[[Path], object], name: str, *, fixed: int = 0) -> float:
        """The last `fixed` bytes stay as they are."""
        random, path, refused = np.random.default_rng(request.param), tmp_path / name, 0
        content, rest = content[: len(content) - fixed], content[len(content) - fixed :]
        path.write_bytes(content + rest)
        read(path)  # whole, it is read
        for _ in range(request.param):
            path.write_bytes(mutated(content, random) + rest)
            try:
                read(path)
            except UserError as error:
                refused += 1
                assert str(error) and "\n" not in str(error)
        return refused / request.param

    return run


def read_records(path: Path) -> None:
    for repair in (False, True):
        records = RecordFile(path, repair=repair)
        for position in range(len(records)):
            records[position]
        list(records.headers())


def test_record_files(survives, face) -> None:
    magic = bytes.fromhex("0a23d7ce")
    records = [image_record(face(0, 8, 8)[:120] + magic * 2, [1.0, 1.0], 1), image_record(b"\xff\xd8\xff" * 9, 3, 2)]
    content = b"".join([*records, image_record(b"", [4.0, 5.0], 0)])
    assert survives(content, read_records, "train.rec") > 0.3


def test_record_sets_as_a_source(survives, face) -> None:
    content = b"".join(image_record(face(seed, 8, 8)[:100], seed, seed) for seed in range(3))
    assert survives(content, lambda path: _read_all(open_source(path)), "train.rec") > 0.1


def test_indexes(survives, tmp_path) -> None:
    record = image_record(b"\xff\xd8\xff", 1.0)
    (tmp_path / "train.rec").write_bytes(record * 3)

    def read(path: Path) -> None:
        assert RecordFile(tmp_path / "train.rec", path)[0][1] == b"\xff\xd8\xff"

    content = f"0\t0\n1\t{len(record)}\n2\t{2 * len(record)}\n".encode()
    assert survives(content, read, "train.idx") == 0  # a useless index is ignored


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_bin_packs(survives, tmp_path, monkeypatch, protocol) -> None:
    def forbidden(*arguments: object) -> None:
        raise AssertionError("executed")

    for name in ("system", "popen", "remove", "mkdir"):
        monkeypatch.setattr(os, name, forbidden)
    images = [b"\xff\xd8\xff" + bytes(20), np.frombuffer(b"\xff\xd8\xff" + bytes(20), np.uint8).reshape(-1, 1)]
    content = pickle.dumps((images * 2, [True, np.bool_(False)]), protocol=protocol)
    assert survives(content, read_bin, "lfw.bin") > 0.25


def _read_all(catalogue) -> None:
    for key in catalogue.keys:
        try:
            catalogue.read(key)
        except UserError as error:
            assert str(error) and "\n" not in str(error)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zips(survives, tmp_path, face, compression) -> None:
    with zipfile.ZipFile(tmp_path / "whole.zip", "w", compression) as archive:
        for k in range(3):
            archive.writestr(f"person {k}/{k}.jpg", face(k, 8, 8)[:200])
    content = (tmp_path / "whole.zip").read_bytes()
    (tmp_path / "whole.zip").unlink()
    assert survives(content, lambda path: _read_all(open_source(path)), "x.zip") > 0.25
    assert [file.name for file in tmp_path.iterdir()] == ["x.zip"]


@pytest.mark.parametrize(
    "form", ["{0}/{1}.jpg {2}", "{2}\t{0}/{1}.jpg", '"{0}/{1}.jpg",{2}', "{0}/{1}.jpg", "1\t{0}/{1}.jpg\t{2}"]
)
def test_lists(survives, form) -> None:
    content = "\n".join(form.format(f"{k:07d}", k, k % 3) for k in range(8)).encode()
    survives(content, read_list, "list.txt")


@pytest.mark.parametrize("separator", [" ", "\t", ","])
def test_landmark_lists(survives, separator) -> None:
    numbers = [f"{value:.2f}" for value in SPHEREFACE.ravel()]
    content = "\n".join(separator.join([f"a/{k}.jpg", *numbers]) for k in range(4)).encode()
    survives(content, read_landmarks, "landmarks.txt")


def test_landmark_archives(survives, tmp_path) -> None:
    np.savez(tmp_path / "whole.npz", names=np.array(["a/1.jpg", "a/2.jpg"]), landmarks=np.stack([SPHEREFACE] * 2))
    assert survives((tmp_path / "whole.npz").read_bytes(), read_landmarks, "l.npz") > 0.25


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP"])
def test_images(survives, face, format) -> None:
    def read(path: Path) -> None:
        image = decode(path.read_bytes())
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3

    survives(face(0, 24, 20, format), read, "image")


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "manifest.json", "names.txt"])
def test_packs(survives, tmp_path, name) -> None:
    np.save(tmp_path / "images.npy", np.zeros((2, 3, 112, 96), np.uint8))
    np.save(tmp_path / "labels.npy", np.array([0, 1]))
    (tmp_path / "names.txt").write_text("a/1.jpg\nb/1.jpg\n")
    (tmp_path / "manifest.json").write_text(
        '{"format": 1, "images": 2, "identities": 2, "size": [112, 96], "colour": "RGB", "classes": ["a", "b"], '
        '"alignment": {"method": "none", "template": "none"}}'
    )

    def read(path: Path) -> None:
        faces = PackedFaces(tmp_path)
        assert faces.images[0].sum() >= 0 and len(faces.names) == len(faces.labels) == len(faces)

    content = (tmp_path / name).read_bytes()
    # Of the images only the header can lie.
    survives(content, read, name, fixed=len(content) - 128 if name == "images.npy" else 0)
