"""Small faces in every container, written by the tests themselves."""

import io
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def face() -> Callable[..., bytes]:
    """face(seed, height=112, width=96, format="JPEG") -> the content of an image file, smooth."""

    def make(seed: int, height: int = 112, width: int = 96, format: str = "JPEG", **options: object) -> bytes:
        coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR).save(file, format, **options)
        return file.getvalue()

    return make


def part(flag: int, payload: bytes) -> bytes:
    """One part of a record, from the format's description."""
    return struct.pack("<II", 0xCED7230A, flag << 29 | len(payload)) + payload + b"\0" * (-len(payload) % 4)


def record(payload: bytes) -> bytes:
    """The payload as the reference writer frames it: cut where the magic word stands at a multiple of 4."""
    magic, pieces, start = bytes.fromhex("0a23d7ce"), [], 0
    for position in range(0, len(payload) - 3, 4):
        if payload[position : position + 4] == magic:
            pieces.append(payload[start:position])
            start = position + 4
    pieces.append(payload[start:])
    if len(pieces) == 1:
        return part(0, payload)
    flags = [1, *[2] * (len(pieces) - 2), 3]
    return b"".join(part(flag, piece) for flag, piece in zip(flags, pieces, strict=True))


def image_record(image: bytes, labels: float | Sequence[float], key: int = 0) -> bytes:
    if isinstance(labels, Sequence):
        return record(struct.pack(f"<IfQQ{len(labels)}f", len(labels), 0, key, 0, *labels) + image)
    return record(struct.pack("<IfQQ", 0, labels, key, 0) + image)


@pytest.fixture
def write_records(tmp_path: Path) -> Callable[..., Path]:
    """write_records(records, index=True) -> the .rec file; the index has keys 0, 1, ..."""

    def write(records: Sequence[bytes], *, index: bool = False, keys: Sequence[int] | None = None) -> Path:
        path = tmp_path / "train.rec"
        path.write_bytes(b"".join(records))
        if index:
            starts = [sum(map(len, records[:position])) for position in range(len(records))]
            pairs = zip(keys or range(len(records)), starts, strict=True)
            path.with_suffix(".idx").write_text("".join(f"{key}\t{start}\n" for key, start in pairs))
        return path

    return write


TREE = {"0000045": 3, "0000099": 1, "0000103": 2}


@pytest.fixture
def files(face) -> dict[str, bytes]:
    names = [f"{person}/{number:03d}.jpg" for person, count in TREE.items() for number in range(1, count + 1)]
    return {name: face(seed, 16, 16) for seed, name in enumerate(names)}


@pytest.fixture
def folder(tmp_path, files) -> Path:
    root = tmp_path / "CASIA-WebFace"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def contents(catalogue) -> dict[str, bytes]:
    return {name: catalogue.read(key) for name, key in zip(catalogue.names, catalogue.keys, strict=True)}


def people(catalogue) -> list[str]:
    return [catalogue.classes[label] for label in catalogue.labels]
