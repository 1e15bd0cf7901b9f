"""Lists of images: in any form, who is on which."""

import zipfile

import pytest

from data.faces.lists import read_list
from data.faces.sources import open_source
from lsoftmax.errors import UserError

from .conftest import contents, people, write_zip

ROWS = [("0000045/001.jpg", 7), ("0000045/002.jpg", 7), ("0000103/001.jpg", 2), ("0000099/001.jpg", 10)]
FORMS = {
    "space": "".join(f"{path} {label}\n" for path, label in ROWS),
    "windows": "\ufeff" + "".join(f"{path.replace('/', chr(92))} {label}\r\n" for path, label in ROWS),
    "label first": "".join(f"{label} {path}\n" for path, label in ROWS),
    "tab": "".join(f"{path}\t{label}\n" for path, label in ROWS),
    "csv": "".join(f"{path},{label}\n" for path, label in ROWS),
    "csv with header": "path,label\n" + "".join(f'"{path}",{label}\n' for path, label in ROWS),
    "mxnet": "".join(f"{k}\t{label}.000000\t{path}\n" for k, (path, label) in enumerate(ROWS)),
    "insightface": "".join(f"1\t/data/{path}\t{label}\n" for path, label in ROWS),
    "insightface with box": "".join(f"0\t{path}\t{label}\t1\t2\t3\t4\n" for path, label in ROWS),
    "with landmarks": "".join(f"{path}\t{label}\t" + "\t".join("1234567890") + "\n" for path, label in ROWS),
    "no final newline": "\n".join(f"{path} {label}" for path, label in ROWS) + "\n\n   \n",
    "absolute": "".join(f"/home/someone/{path} {label}\n" for path, label in ROWS),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_list_in_any_form_says_who_is_on_which_image(folder, tmp_path, files, form) -> None:
    (tmp_path / "list.txt").write_text(FORMS[form], newline="")
    catalogue = open_source(folder, list_path=str(tmp_path / "list.txt"))
    assert contents(catalogue) == {path: files[path] for path, _ in ROWS}
    # Classes ascend as numbers: 2, 7, 10; each has a folder of its own, which is its id.
    assert catalogue.labels.tolist() == [1, 1, 0, 2]
    assert catalogue.classes == ["0000103", "0000045", "0000099"] and catalogue.has_ids


def test_a_list_of_bare_paths_takes_the_folders(folder, tmp_path) -> None:
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path, _ in ROWS))
    catalogue = open_source(folder, list_path=str(tmp_path / "list.txt"))
    assert people(catalogue) == [path.split("/")[0] for path, _ in ROWS]


def test_names_with_blanks_are_read(tmp_path) -> None:
    (tmp_path / "list.txt").write_text("Some One/my face 1.jpg 3\nSome One/x.jpg 4\n")
    rows = read_list(tmp_path / "list.txt")
    assert rows.paths == ["Some One/my face 1.jpg", "Some One/x.jpg"] and rows.labels == ["3", "4"]


def test_labels_that_are_words_are_sorted(folder, tmp_path) -> None:
    (tmp_path / "list.txt").write_text("0000045/001.jpg b\n0000099/001.jpg B\n0000103/001.jpg a\n")
    assert open_source(folder, list_path=str(tmp_path / "list.txt")).classes == ["B", "a", "b"]


def test_classes_that_share_a_folder_have_no_ids(folder, tmp_path) -> None:
    (tmp_path / "list.txt").write_text("0000045/001.jpg 0\n0000045/002.jpg 1\n")
    catalogue = open_source(folder, list_path=str(tmp_path / "list.txt"))
    assert catalogue.classes == ["0", "1"] and not catalogue.has_ids


@pytest.mark.parametrize("top", ["", "casia/"])
def test_a_list_inside_the_zip_is_found(tmp_path, files, top) -> None:
    members = {top + name: content for name, content in files.items()} | {"list.txt": FORMS["windows"].encode()}
    catalogue = open_source(write_zip(tmp_path / "x.zip", members), list_path="list.txt")
    assert list(contents(catalogue).values()) == [files[path] for path, _ in ROWS]


def test_an_image_that_is_listed_twice_is_taken_once(folder, tmp_path, files) -> None:
    (tmp_path / "list.txt").write_text(FORMS["space"] + "0000045/002.jpg 7\n")
    catalogue = open_source(folder, list_path=str(tmp_path / "list.txt"))
    assert catalogue.names == [name for name, _ in ROWS]
    assert catalogue.left_out == [("0000045/002.jpg", "listed a second time")]


def test_an_image_with_two_labels_is_an_error(folder, tmp_path) -> None:
    (tmp_path / "list.txt").write_text("train/0000045/001.jpg 0\ntest/0000045/001.jpg 1\n")
    with pytest.raises(UserError, match=r"line 2: 'test/0000045/001.jpg' is the image of line 1, which has another"):
        open_source(folder, list_path=str(tmp_path / "list.txt"))


def test_a_word_in_front_of_a_blank_is_part_of_the_path(tmp_path) -> None:
    (tmp_path / "list.txt").write_text("John Smith/1.jpg\nJohn Doe/1.jpg\n")
    found = read_list(tmp_path / "list.txt")
    assert (found.paths, found.labels) == (["John Smith/1.jpg", "John Doe/1.jpg"], ["John Smith", "John Doe"])


def test_a_damaged_list_inside_the_zip_is_named(tmp_path, files) -> None:
    path = write_zip(tmp_path / "x.zip", files | {"list.txt": b"the only list of these"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"the only list of these", b"another list of those."))
    with pytest.raises(UserError, match=r"x\.zip, list\.txt: the archive is damaged"):
        open_source(path, list_path="list.txt")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "an empty list"),
        ("a/1.jpg 0\na/2.jpg\n", "line 2: cannot read 'a/2.jpg'|line 1"),
        ("what is this\n", "line 1: cannot read 'what is this'"),
        ("".join(f"a/{k}.jpg 0\n" for k in range(150)) + "nonsense\n", "line 151: cannot read 'nonsense'"),
        ("a/1.jpg -1\n", "line 1: label -1 is no class number"),
        ("a/1.jpg 0\na/2.jpg 0.5\n", "line 2: label 0.5 is no class number"),
        ("a/1.jpg nan\n", "line 1: label nan is no class number"),
        ("a/1.jpg 1e300\n", "line 1: label 1e300 is no class number"),
        ("1.jpg\n", "line 1: '1.jpg' has neither a label nor a folder"),
        ("a/1.jpg 0\n\0\n", "line 2: a zero byte"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, text, part) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(UserError, match=rf"list\.txt.*({part})"):
        read_list(tmp_path / "list.txt")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("at", [2, 4])
def test_among_the_first_lines_the_wrong_one_is_named(tmp_path, form, at) -> None:
    lines = FORMS[form].strip().splitlines()
    (tmp_path / "list.txt").write_text("\n".join([*lines[: at - 1], "no image at all", *lines[at - 1 :]]))
    with pytest.raises(UserError, match=rf"line {at}: cannot read 'no image at all'"):
        read_list(tmp_path / "list.txt")


def test_missing_images_are_an_error_with_examples_up_to_the_share(folder, tmp_path) -> None:
    (tmp_path / "list.txt").write_text(FORMS["space"] + "0000045/999.jpg 7\n../../etc/x.jpg 7\n")
    with pytest.raises(UserError, match=r"2 of 6 images are not in .*'0000045/999\.jpg' \(line 5\)"):
        open_source(folder, list_path=str(tmp_path / "list.txt"))
    catalogue = open_source(folder, list_path=str(tmp_path / "list.txt"), max_missing=0.5)
    assert len(catalogue) == 4 and catalogue.left_out[-1] == ("../../etc/x.jpg", "listed but missing")


def test_labels_that_are_the_folders_names_keep_their_zeros(tmp_path) -> None:
    (tmp_path / "list.txt").write_text("0000045/1.jpg 0000045\n0000103/1.jpg 0000103\n")
    rows = read_list(tmp_path / "list.txt")
    assert (rows.labels, rows.numeric) == (["0000045", "0000103"], False)


def test_bare_paths_of_windows_have_folders_too(tmp_path) -> None:
    (tmp_path / "list.txt").write_text("one\\1.jpg\ntwo\\1.jpg\n")
    rows = read_list(tmp_path / "list.txt")
    assert (rows.paths, rows.labels) == (["one/1.jpg", "two/1.jpg"], ["one", "two"])


def test_more_than_five_landmarks_are_another_form(tmp_path) -> None:
    (tmp_path / "list.txt").write_text("a/1.jpg\t0\t" + "\t".join("12345678901") + "\n")
    with pytest.raises(UserError, match="line 1: cannot read"):
        read_list(tmp_path / "list.txt")
