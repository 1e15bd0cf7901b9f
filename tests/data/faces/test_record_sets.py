"""Record sets as face2rec2 writes them: their images, and who is on them."""

from pathlib import Path

import numpy as np
import pytest

from data.faces.sources import open_source
from lsoftmax.errors import UserError

from .conftest import TREE, contents, image_record, write_zip


@pytest.fixture
def insightface(write_records, files):
    """A set as face2rec2 writes it: the images, their header (key 0, written later), one record for each person."""

    def write(*, labels: str = "two", shuffled: bool = False, index: bool = True) -> Path:
        images, people_of = list(files.values()), [0, 0, 0, 1, 2, 2]
        count, identities = len(images), len(TREE)
        records, keys = [], []
        for key, (image, label) in enumerate(zip(images, people_of, strict=True), start=1):
            records.append(image_record(image, [label, 1] if labels == "two" else label, key))
            keys.append(key)
        if not shuffled:
            records.append(image_record(b"", [count + 1, count + 1 + identities], 0))
            keys.append(0)
            for k, (first, end) in enumerate([(1, 4), (4, 5), (5, 7)]):
                records.append(image_record(b"", [first, end], count + 1 + k))
                keys.append(count + 1 + k)
        return write_records(records, index=index, keys=keys)

    return write


@pytest.mark.parametrize("labels", ["one", "two"])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("index", [False, True])
def test_a_record_set_gives_its_images_and_no_other_record(insightface, files, labels, shuffled, index) -> None:
    catalogue = open_source(insightface(labels=labels, shuffled=shuffled, index=index), list_path=None)
    assert list(contents(catalogue).values()) == list(files.values())
    assert catalogue.labels.tolist() == [0, 0, 0, 1, 2, 2] and catalogue.classes == ["0", "1", "2"]
    assert catalogue.kind == "records" and not catalogue.has_ids and catalogue.notes == []


def test_the_folder_that_holds_a_record_file_stands_for_it(insightface) -> None:
    assert len(open_source(insightface().parent)) == 6


def test_train_lst_beside_it_knows_the_ids(insightface, files) -> None:
    path = insightface()
    people_of = dict(zip(TREE, range(3), strict=True))
    text = "".join(f"1\t/x/{name}\t{people_of[name.split('/')[0]]}\n" for name in files)
    path.with_suffix(".lst").write_text(text)
    catalogue = open_source(path)
    assert catalogue.classes == list(TREE) and catalogue.has_ids


def test_a_list_that_is_named_is_found_from_home_and_an_error_if_it_is_not_there(
    insightface, files, tmp_path, monkeypatch
) -> None:
    path = insightface()
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match="mine.lst: cannot be read"):
        open_source(path, list_path="~/mine.lst")
    people_of = dict(zip(TREE, range(3), strict=True))
    text = "".join(f"1\t/x/{name}\t{people_of[name.split('/')[0]]}\n" for name in files)
    (tmp_path / "mine.lst").write_text(text)
    assert open_source(path, list_path="~/mine.lst").classes == list(TREE)


def test_a_train_lst_that_contradicts_itself_is_not_used(insightface, files) -> None:
    path = insightface()
    path.with_suffix(".lst").write_text("".join(f"1\t/x/{name}\t0\n" for name in files))
    catalogue = open_source(path)
    assert not catalogue.has_ids and "not used" in catalogue.notes[0]


@pytest.mark.parametrize("text", ["", "what is this\n", "0000045/001.jpg 0\n0000045/002.jpg 0.5\n"])
def test_a_train_lst_that_cannot_be_read_is_an_error_only_if_it_is_named(insightface, text) -> None:
    path = insightface()
    listing = path.with_suffix(".lst")
    listing.write_text(text)
    catalogue = open_source(path)
    [note] = catalogue.notes
    assert not catalogue.has_ids and note.startswith(f"{listing}") and note.endswith("; it is not used")
    assert note.count("train.lst") == 1
    with pytest.raises(UserError, match="train.lst"):
        open_source(path, list_path=str(listing))


@pytest.mark.parametrize(
    ("labels", "part"),
    [
        ([0, 0, 0, 1, 3, 3], "0 lines for label 2, which has 2 images"),
        ([0, 0, 1, 2, 2, 2], "2 lines for label 0, which has 3 images"),
        ([0, 0, 0, 1, 1, 2], "1 lines for label 2, which has 2 images"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_a_list_of_another_build_is_not_used(insightface, tmp_path, labels, part, named) -> None:
    path, listing = insightface(), tmp_path / ("mine.lst" if named else "train.lst")
    listing.write_text("".join(f"1\t/x/{label:07d}/{k}.jpg\t{label}\n" for k, label in enumerate(labels)))
    catalogue = open_source(path, list_path=str(listing) if named else None)
    assert not catalogue.has_ids and catalogue.classes == ["0", "1", "2"]
    assert catalogue.notes == [f"{listing}: not of this record file: {part}; it is not used"]


def test_a_list_with_more_lines_is_used_and_that_is_said(insightface) -> None:
    path = insightface()
    labels = [0, 0, 0, 0, 1, 2, 2, 3]
    text = "".join(f"1\t/x/{label:07d}/{k}.jpg\t{label}\n" for k, label in enumerate(labels))
    path.with_suffix(".lst").write_text(text)
    catalogue = open_source(path)
    assert catalogue.classes == ["0000000", "0000001", "0000002"] and catalogue.has_ids
    assert catalogue.notes == [f"{path.with_suffix('.lst')}: 8 lines for 6 images"]


def test_gaps_between_labels_close_in_their_order(write_records, files) -> None:
    records = [image_record(image, label) for image, label in zip(files.values(), [9, 4, 9, 700, 4, 4], strict=True)]
    catalogue = open_source(write_records(records))
    assert catalogue.labels.tolist() == [1, 0, 1, 2, 0, 0] and catalogue.classes == ["4", "9", "700"]


def test_a_header_that_promises_other_counts_is_noted(write_records, files) -> None:
    records = [image_record(image, 0, k + 1) for k, image in enumerate(files.values())]
    catalogue = open_source(write_records([image_record(b"", [100.0, 101.0], 0), *records]))
    assert len(catalogue) == 6 and "promises 99 images, 6 are there" in catalogue.notes[0]


@pytest.mark.parametrize("label", [float("nan"), 0.5, -1.0, 2.0**24])
def test_a_label_that_is_none_names_its_record(write_records, files, label) -> None:
    image = next(iter(files.values()))
    with pytest.raises(UserError, match=r"record 1 \(id 5\): label .* is no class number"):
        open_source(write_records([image_record(image, 0), image_record(image, label, 5)]))


def test_a_record_set_without_images_is_one_line(write_records) -> None:
    with pytest.raises(UserError, match="no record holds an image"):
        open_source(write_records([image_record(b"", [1.0, 1.0])]))


def test_an_image_is_read_the_same_from_every_container(folder, insightface, tmp_path, files) -> None:
    from data.faces import decode

    zipped = open_source(write_zip(tmp_path / "x.zip", files))
    sources = [open_source(folder), zipped, open_source(insightface())]
    for catalogue in sources:
        for key, content in zip(catalogue.keys, files.values(), strict=True):
            assert np.array_equal(decode(catalogue.read(key)), decode(content))
