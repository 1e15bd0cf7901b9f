"""The image file of a pack under interruptions, and the journal beside it."""

from pathlib import Path

import numpy as np
import pytest

from data.faces.image_file import ImageFile
from data.faces.parts import Done, Journal


def filled(path: Path, rows: int) -> ImageFile:
    file = ImageFile(path, rows, (2, 2))
    file.create()
    file.write(0, np.arange(rows, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 2, 2), np.uint8))
    return file


@pytest.mark.parametrize("seed", range(20))
def test_compacting_keeps_the_kept_rows_and_can_be_repeated(tmp_path, seed) -> None:
    keep = np.random.default_rng(seed).random(50) < 0.7
    file = filled(tmp_path / "images.npy", 50)
    order = file.compact(keep)
    assert sorted(order) == np.flatnonzero(keep).tolist()
    assert np.load(tmp_path / "images.npy")[:, 0, 0, 0].tolist() == order.tolist()
    assert file.compact(keep).tolist() == order.tolist()
    assert np.load(tmp_path / "images.npy")[:, 0, 0, 0].tolist() == order.tolist()


def test_compacting_can_be_interrupted_before_the_end_is_cut_off(tmp_path, monkeypatch) -> None:
    keep = np.array([True, False, True, False, True, True])
    file = filled(tmp_path / "images.npy", 6)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            file.compact(keep)
    assert file.compact(keep).tolist() == [0, 4, 2, 5]
    assert np.load(tmp_path / "images.npy")[:, 0, 0, 0].tolist() == [0, 4, 2, 5]


def test_rows_are_where_numpy_expects_them(tmp_path) -> None:
    file = ImageFile(tmp_path / "images.npy", 5, (112, 96))
    file.create()
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 112, 96), dtype=np.uint8)
    file.write(3, images)
    found = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert found.shape == (5, 3, 112, 96) and np.array_equal(found[3:], images) and not found[:3].any()


def test_a_journal_without_its_images_counts_for_nothing(tmp_path) -> None:
    file = filled(tmp_path / "images.npy", 3)
    journal = Journal(tmp_path / "parts.jsonl", file)
    journal.add(Done(0, "digest"))
    journal.commit()
    assert list(Journal(tmp_path / "parts.jsonl", file).done) == [0]
    file.path.unlink()
    assert not Journal(tmp_path / "parts.jsonl", file).done
    file.create()
    assert not Journal(tmp_path / "parts.jsonl", file).done


def test_half_a_line_of_a_journal_is_cut_off_and_the_next_one_stands_alone(tmp_path) -> None:
    file, path = filled(tmp_path / "images.npy", 3), tmp_path / "parts.jsonl"
    journal = Journal(path, file)
    for part in (0, 1):
        journal.add(Done(part, "digest"))
        journal.commit()
    path.write_bytes(path.read_bytes()[:-5])
    journal = Journal(path, file)
    assert list(journal.done) == [0]
    journal.add(Done(1, "digest"))
    journal.commit()
    assert list(Journal(path, file).done) == [0, 1]


def test_images_are_on_the_disk_before_the_line_that_tells_of_them(tmp_path, monkeypatch) -> None:
    file, path, told = filled(tmp_path / "images.npy", 3), tmp_path / "parts.jsonl", []
    monkeypatch.setattr(file, "flush", lambda: told.append(path.exists()))
    journal = Journal(path, file)
    journal.add(Done(0, "digest"))
    journal.commit()
    assert told == [False] and path.exists()


def test_what_nobody_knows_of_is_made_anew(tmp_path) -> None:
    filled(tmp_path / "images.npy", 3)
    other = ImageFile(tmp_path / "images.npy", 5, (112, 96))
    other.create()
    assert np.load(tmp_path / "images.npy").shape[0] == 3
    other.create(anew=True)
    assert np.load(tmp_path / "images.npy").shape == (5, 3, 112, 96)
