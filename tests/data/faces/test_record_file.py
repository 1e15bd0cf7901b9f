"""RecordFile against golden bytes, a writer made from the format's description, and damaged files."""

import multiprocessing
import pickle
import struct
import tracemalloc

import pytest

from data.faces import RecordError, RecordFile
from data.faces.record_file import Header, class_label
from lsoftmax.errors import UserError

from .conftest import image_record, part, record

MAGIC = bytes.fromhex("0a23d7ce")
GOLDEN_IMAGE = bytes.fromhex("0a23d7ce 1b000000 00000000 0000e040 2a00000000000000 0000000000000000 ffd8ff 00")
GOLDEN_HEADER = bytes.fromhex("0a23d7ce 20000000 02000000 00000000" + "00" * 16 + "00008040 0000c040")
GOLDEN_PARTS = bytes.fromhex("0a23d7ce 04000020 41424344 0a23d7ce 02000060 4546 0000")


def test_the_golden_image_record(write_records) -> None:
    assert len(GOLDEN_IMAGE) == 36
    assert RecordFile(write_records([GOLDEN_IMAGE]))[0] == (Header(0, (7.0,), 42, 0), b"\xff\xd8\xff")


def test_the_golden_header_record(write_records) -> None:
    assert RecordFile(write_records([GOLDEN_HEADER]))[0] == (Header(2, (4.0, 6.0), 0, 0), b"")


def test_the_golden_parts_are_joined_by_the_magic_word(write_records) -> None:
    from data.faces.positional import PositionalFile
    from data.faces.recordio import payload_of

    assert payload_of(PositionalFile(write_records([GOLDEN_PARTS])), 0) == b"ABCD" + MAGIC + b"EF"
    assert record(b"ABCD" + MAGIC + b"EF") == GOLDEN_PARTS


IMAGES = [b"\xff\xd8\xff" + bytes([seed]) * (seed * 7) for seed in range(9)]
IMAGES += [MAGIC, MAGIC * 3, b"ab" + MAGIC, b"abcd" + MAGIC + b"e", MAGIC + b"abcd" + MAGIC, b"abcd" * 5 + MAGIC * 2]


@pytest.mark.parametrize("index", [False, True])
def test_every_payload_comes_back(write_records, index) -> None:
    records = RecordFile(write_records([image_record(image, k, k) for k, image in enumerate(IMAGES)], index=index))
    assert len(records) == len(IMAGES)
    for k, image in enumerate(IMAGES):
        assert records[k] == (Header(0, (float(k),), k, 0), image)
    assert [size for _, size in records.headers()] == list(map(len, IMAGES))
    assert records.notes == []


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 1024])
def test_many_labels_are_read_whole(write_records, count) -> None:
    labels = [float(k) for k in range(count)]
    records = RecordFile(write_records([image_record(b"\xff\xd8\xff" * 9, labels, 5)]))
    assert records[0] == (Header(count, tuple(labels), 5, 0), b"\xff\xd8\xff" * 9)
    assert list(records.headers()) == [(Header(count, tuple(labels), 5, 0), 27)]


def test_the_index_may_be_in_any_order_and_have_windows_line_ends(write_records) -> None:
    path = write_records([image_record(image, k, k) for k, image in enumerate(IMAGES)], index=True)
    index = path.with_suffix(".idx")
    index.write_bytes(b"".join(line.replace(b"\n", b"\r\n") for line in reversed(index.read_bytes().splitlines(True))))
    records = RecordFile(path)
    assert [records[k][1] for k in range(len(records))] == IMAGES and not records.notes


def test_an_index_may_leave_records_out(write_records) -> None:
    path = write_records([image_record(image, k) for k, image in enumerate(IMAGES)], index=True)
    lines = path.with_suffix(".idx").read_text().splitlines(True)
    path.with_suffix(".idx").write_text(lines[0] + lines[5] + lines[-1])
    records = RecordFile(path)
    assert [records[k][1] for k in range(len(records))] == [IMAGES[0], IMAGES[5], IMAGES[-1]] and not records.notes


def test_to_repair_is_to_read_what_the_index_leaves_out_too(write_records) -> None:
    path = write_records([image_record(image, k) for k, image in enumerate(IMAGES)], index=True)
    lines = path.with_suffix(".idx").read_text().splitlines(True)
    path.with_suffix(".idx").write_text(lines[0] + lines[-1])
    assert len(RecordFile(path, repair=True)) == len(IMAGES)


@pytest.mark.parametrize("kept", [slice(4), slice(4, None), slice(4, 6)])
def test_a_shortened_index_is_said_and_all_records_used(write_records, kept) -> None:
    path = write_records([image_record(image, k) for k, image in enumerate(IMAGES)], index=True)
    lines = path.with_suffix(".idx").read_text().splitlines(True)
    path.with_suffix(".idx").write_text("".join(lines[kept]))
    records = RecordFile(path)
    assert [records[k][1] for k in range(len(records))] == IMAGES
    assert len(records.notes) == 1 and "leaves out" in records.notes[0]


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ("", "empty"),
        ("0 0\n1 x\n", "line 2 is no key and offset"),
        ("0\t0\n0\t36\n", "one key occurs twice"),
        ("0\t0\n1\t0\n", "two keys share an offset"),
        ("0\t0\n1\t38\n", "no multiple of 4"),
        ("0\t0\n1\t999999\n", "outside the file"),
        ("0\t0\n1\t-4\n", "line 2 is no key and offset"),
        ("0\t0\n1\t4\n", "is of another file"),
        ("0\t0\n1\t" + "9" * 400 + "\n", "line 2 is no key and offset"),
    ],
)
def test_a_useless_index_is_said_and_the_file_scanned(write_records, index, reason) -> None:
    path = write_records([GOLDEN_IMAGE] * 3)
    path.with_suffix(".idx").write_text(index)
    records = RecordFile(path)
    assert len(records) == 3
    assert len(records.notes) == 1 and reason in records.notes[0] and "ignored" in records.notes[0]


@pytest.mark.parametrize("cut", range(1, 36))
@pytest.mark.parametrize("index", [False, True])
def test_a_cut_last_record_is_said_and_the_rest_used(write_records, cut, index) -> None:
    path = write_records([GOLDEN_IMAGE] * 3, index=index)
    path.write_bytes(path.read_bytes()[:-cut])
    records = RecordFile(path)
    assert len(records) == 2 and records[1][1] == b"\xff\xd8\xff"
    assert any("left out" in note for note in records.notes)


@pytest.mark.parametrize("zeros", [1, 4, 7, 4096])
def test_a_zero_filled_tail_is_said_and_the_rest_used(write_records, zeros) -> None:
    records = RecordFile(write_records([GOLDEN_IMAGE] * 2 + [b"\0" * zeros]))
    assert len(records) == 2
    assert "only zeros from byte 72" in records.notes[0]


WRONG = {
    "bad magic": (b"XXXX" + GOLDEN_IMAGE[4:], "found 58 58 58 58"),
    "middle first": (part(2, b"abcd"), "wrong order"),
    "last first": (part(3, b"abcd"), "wrong order"),
    "first after first": (part(1, b"abcd") + part(1, b"abcd"), "wrong order"),
    "whole after first": (part(1, b"abcd") + part(0, b"abcd"), "wrong order"),
    "odd first part": (part(1, b"abc") + part(3, b"abcd"), "no multiple of 4"),
    "flag 4": (part(4, b"abcd"), "flag 4"),
    "longer than the file": (MAGIC + struct.pack("<I", 2**29 - 1), "are left"),
}


@pytest.mark.parametrize("name", WRONG)
def test_damage_is_an_error_at_its_offset_and_can_be_skipped(write_records, name) -> None:
    damage, reason = WRONG[name]
    path = write_records([GOLDEN_IMAGE, damage, GOLDEN_IMAGE])
    with pytest.raises(UserError, match=r"train\.rec, byte 36: ") as caught:
        len(RecordFile(path))
    assert reason in str(caught.value) and "repair=true" in str(caught.value) and "\n" not in str(caught.value)
    repaired = RecordFile(path, repair=True)
    assert repaired[len(repaired) - 1][1] == b"\xff\xd8\xff"
    assert repaired.offsets[-1] == 36 + len(damage)
    assert f"{len(damage)} damaged bytes were skipped" in repaired.notes[-1] or "whole" in name


def test_an_announced_length_is_not_allocated(write_records) -> None:
    path = write_records([GOLDEN_IMAGE, MAGIC + struct.pack("<I", 2**29 - 1), GOLDEN_IMAGE])
    tracemalloc.start()
    try:
        with pytest.raises(UserError):
            len(RecordFile(path))
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_a_record_beyond_the_limit_is_refused(write_records, monkeypatch) -> None:
    monkeypatch.setattr("data.faces.recordio.IMAGE_BYTES", 26)
    with pytest.raises(UserError, match="over 26 bytes"):
        len(RecordFile(write_records([GOLDEN_IMAGE, GOLDEN_IMAGE])))


def test_a_million_empty_parts_are_refused_early(write_records) -> None:
    path = write_records([part(1, b""), part(2, b"") * 5000, part(3, b""), GOLDEN_IMAGE])
    with pytest.raises(UserError, match="1024 parts"):
        len(RecordFile(path))


@pytest.mark.parametrize("payload", [b"", b"a" * 23])
def test_a_record_without_room_for_a_header_is_an_error_when_it_is_read(write_records, payload) -> None:
    records = RecordFile(write_records([GOLDEN_IMAGE, record(payload)]))
    with pytest.raises(RecordError, match="byte 36: .* too few for an image header"):
        records[1]


@pytest.mark.parametrize("flag", [3, 1025, 2**32 - 1])
def test_an_absurd_number_of_labels_is_an_error(write_records, flag) -> None:
    records = RecordFile(write_records([record(struct.pack("<IfQQ", flag, 0, 0, 0) + b"12345678")]))
    for read in (lambda: records[0], lambda: list(records.headers())):
        with pytest.raises(RecordError, match=f"{flag:,} labels"):
            read()


@pytest.mark.parametrize("label", [float("nan"), float("inf"), -1.0, 0.5, 2.0**24])
def test_a_label_that_is_no_class_is_refused(label) -> None:
    with pytest.raises(ValueError, match="no class number"):
        class_label(Header(0, (label,), 0, 0))


def test_the_class_is_the_first_label() -> None:
    assert class_label(Header(2, (5.0, 1.0), 0, 0)) == 5
    assert class_label(Header(0, (2.0**24 - 1,), 0, 0)) == 2**24 - 1


def test_positions_outside_are_an_index_error(write_records) -> None:
    with pytest.raises(IndexError):
        RecordFile(write_records([GOLDEN_IMAGE]))[1]


def test_a_missing_file_is_one_line(tmp_path) -> None:
    with pytest.raises(UserError, match=r"none\.rec: no such file"):
        RecordFile(tmp_path / "none.rec")


def test_it_can_be_pickled_open_or_not(write_records) -> None:
    records = RecordFile(write_records([GOLDEN_IMAGE] * 2))
    assert pickle.loads(pickle.dumps(records))[1] == records[1]
    assert pickle.loads(pickle.dumps(records))[0] == records[0]


def read_all(records: RecordFile, queue) -> None:
    queue.put([records[k % len(records)][1] for k in range(500)])


def test_workers_that_share_it_after_a_fork_read_what_is_there(write_records) -> None:
    records = RecordFile(write_records([image_record(image, k) for k, image in enumerate(IMAGES)]))
    assert records[0]  # the file is open when they start
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=read_all, args=(records, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    wanted = [IMAGES[k % len(IMAGES)] for k in range(500)]
    assert [queue.get(timeout=30) == wanted for _ in workers] == [True] * 3
    for worker in workers:
        worker.join()
