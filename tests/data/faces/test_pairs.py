"""Lists of pairs in every form, the dealing of folds, and the files that names stand for."""

import os
from pathlib import Path

import numpy as np
import pytest

from data.faces.files import find_images, rows_of, stem
from data.faces.pairs import deal_folds, read_pairs
from lsoftmax.errors import UserError


@pytest.fixture
def pairs_of(tmp_path):
    def read(text, encoding="utf-8"):
        path = tmp_path / "pairs.txt"
        path.write_bytes(text.encode(encoding))
        return read_pairs(path)

    return read


AB = (("a/1.jpg", "a/1.jpg"), ("a/2.jpg", "b/1.jpg"), [True, False])


@pytest.mark.parametrize(
    "text",
    [
        "a/1.jpg a/2.jpg 1\na/1.jpg b/1.jpg 0\n",
        "a/1.jpg a/2.jpg 1\r\na/1.jpg b/1.jpg 0",
        "1 a/1.jpg a/2.jpg\n0 a/1.jpg b/1.jpg\n",
        "\n1\ta/1.jpg\ta/2.jpg\n\n-1\ta/1.jpg\tb/1.jpg\n",
        "a/1.jpg,a/2.jpg,1\na/1.jpg,b/1.jpg,0\n",
        "left,right,same\na/1.jpg,a/2.jpg,1\na/1.jpg, b/1.jpg, 0\n",
        '\ufefflabel,one,other\n1,"a/1.jpg",a/2.jpg\n0,a/1.jpg,b/1.jpg\n',
        "a/1.jpg 5\na/2.jpg 5\na/1.jpg 0\nb/1.jpg 0\n",
        "1\na/1.jpg a/2.jpg 1\na/1.jpg b/1.jpg 0\n",
    ],
)
def test_every_form_says_the_same(pairs_of, text):
    pairs = pairs_of(text)
    assert (pairs.left, pairs.right, pairs.same.tolist()) == AB and pairs.folds is None
    assert pairs.names() == ["a/1.jpg", "a/2.jpg", "b/1.jpg"]


LFW = "Abel_Pacheco\t1\t4\nAbdel-Hakim\t2\tZoe\t11\n"


@pytest.mark.parametrize("text", [LFW, "1\n" + LFW, LFW.replace("\t", "  "), LFW.replace("\n", "\r\n").rstrip()])
def test_lfws_own_form(pairs_of, text):
    pairs = pairs_of(text)
    assert pairs.left == ("Abel_Pacheco/Abel_Pacheco_0001", "Abdel-Hakim/Abdel-Hakim_0002")
    assert pairs.right == ("Abel_Pacheco/Abel_Pacheco_0004", "Zoe/Zoe_0011")
    assert pairs.same.tolist() == [True, False] and pairs.folds is None


def test_the_first_line_of_view_2_gives_the_folds(pairs_of):
    pairs = pairs_of("3\t1\n" + LFW * 3)
    assert pairs.folds.tolist() == [0, 0, 1, 1, 2, 2]


def test_counts_may_be_parted_by_a_blank_above_tabs(pairs_of):
    assert pairs_of("3 1\n" + LFW * 3).folds.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_byte_order_mark_is_no_part_of_a_name(pairs_of):
    assert pairs_of("\ufeffa/1.jpg a/2.jpg 1\n").left == ("a/1.jpg",)


def test_names_of_digits_are_names(pairs_of):
    assert pairs_of("0000045\t1\t4\n0000099\t1\t0000045\t2\n").left[0] == "0000045/0000045_0001"


def test_paths_with_blanks_between_tabs(pairs_of):
    assert pairs_of("my faces/1.jpg\tmy faces/2.jpg\t1\n").left == ("my faces/1.jpg",)


def test_a_column_of_folds(pairs_of):
    pairs = pairs_of("left,right,fold,same\na.jpg,b.jpg,7,1\nc.jpg,d.jpg,3,0\n")
    assert pairs.folds.tolist() == [7, 3] and pairs.same.tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("10\t300\n", "there are no pairs"),
        ("left,right,same\n", "there are no pairs"),
        ("2\t1\n" + LFW, "2 folds of 2 x 1 pairs, there are 2"),
        ("3\n" + LFW, "2 x 3 pairs, there are 2"),
        (LFW + "a\tb\n", "line 3: cannot read 'a b'"),
        (LFW + "a\t1\tb\tc\n", "line 3"),
        (LFW + "a\t1\n", "line 3"),
        ("a b 1\na b 2\n", "line 2: cannot read 'a b 2'"),
        ("a b 1\na b\n", "line 2"),
        ("a b 1\na b c 1\n", "line 2"),
        ("a,b,1\na,b,yes\n", "line 2"),
        ("a/1.jpg,a/2.jpg,yes\na/1.jpg,b/1.jpg,0\n", "line 1: cannot read 'a/1.jpg a/2.jpg yes'"),
        ("a/1\ta/2\tsame\na/1\tb/1\t0\n", "line 1"),
        ("1.jpg,2.jpg,same\n1.jpg,3.jpg,0\n", "line 1"),
        ("a b same\na c 0\n", "line 1"),
        ("a,b,1\n" + "x" * 140_000 + ",b,0\n", "line 2: 140,004 characters"),
        ("a,b,fold,same\na,b,x,1\n", "fold number"),
        ("a.jpg 1\nb.jpg 1\nc.jpg 0\n", "two lines make a pair, but there are 3"),
        ("a.jpg 1\nb.jpg 0\n", "line 2: label 0 after 1"),
        ("a.jpg 1\nb.jpg x\n", "line 2"),
        ("a.jpg 1\nb.jpg -1\n", "line 2: label -1 after 1"),
    ],
)
def test_what_is_none_of_the_forms_is_named_by_its_line(pairs_of, text, part):
    with pytest.raises(UserError, match="pairs.txt") as caught:
        pairs_of(text)
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_two_lines_of_minus_one_are_a_mismatched_pair(pairs_of):
    assert pairs_of("a.jpg 1\nb.jpg 1\na.jpg -1\nc.jpg -1\n").same.tolist() == [True, False]


def test_a_number_of_thousands_of_digits_is_none(pairs_of):
    with pytest.raises(UserError, match="line 1: cannot read"):
        pairs_of("a\t1\t" + "1" * 5_000 + "\n")


def test_a_file_beyond_the_limit_is_not_read(pairs_of, monkeypatch):
    monkeypatch.setattr("data.faces.pairs.LIST_BYTES", 9)
    with pytest.raises(UserError, match="over 9 bytes is no list of pairs"):
        pairs_of("a b 1\nc d 0\n")


def test_a_file_that_is_not_there_or_no_text(tmp_path, pairs_of):
    with pytest.raises(UserError, match="cannot read the pairs file"):
        read_pairs(tmp_path / "none.txt")
    with pytest.raises(UserError, match="UTF-8"):
        pairs_of("1 \xff \xfe", encoding="latin-1")


def test_mixed_pairs_keep_their_contiguous_folds():
    same = np.tile(np.repeat([True, False], 300), 10)
    ids, dealt = deal_folds(same)
    assert not dealt and ids.tolist() == np.repeat(range(10), 600).tolist()


@pytest.mark.parametrize("matched", [2, 3])
def test_folds_of_just_40_or_60_percent_are_kept(matched):
    assert not deal_folds(np.tile(np.arange(5) < matched, 10))[1]


def test_sorted_pairs_are_dealt_anew():
    # CALFW's order: fold k takes matched and mismatched 300k .. 300k + 299.
    same = np.repeat([True, False], 3000)
    ids, dealt = deal_folds(same)
    assert dealt
    for fold in range(10):
        expected = [*range(300 * fold, 300 * fold + 300), *range(3000 + 300 * fold, 3300 + 300 * fold)]
        assert np.flatnonzero(ids == fold).tolist() == expected


@pytest.mark.parametrize("seed", range(50))
def test_dealt_folds_are_level_in_both_kinds(seed):
    rng = np.random.default_rng(seed)
    same = np.sort(rng.random(int(rng.integers(40, 90))) < 0.5)
    ids, dealt = deal_folds(same, 5)
    assert dealt
    for kind in (same, ~same):
        counts = np.bincount(ids[kind], minlength=5)
        assert counts.max() - counts.min() <= 1
        assert (np.diff(ids[kind]) >= 0).all()


def test_too_few_pairs_for_the_folds():
    with pytest.raises(UserError, match="3 matched and 20 mismatched pairs are too few for 10 folds"):
        deal_folds(np.array([True] * 3 + [False] * 20))


@pytest.fixture
def folder(tmp_path):
    for name in ("a/a_0001.jpg", "a/a_0002.png", "b.JPG"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(b"x")
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a/a_0001", "a/a_0001.jpg"),
        ("a/a_0002", "a/a_0002.png"),
        ("a/a_0001.jpg", "a/a_0001.jpg"),
        ("a\\a_0001.jpg", "a/a_0001.jpg"),
        ("/home/other/faces/a/a_0001.jpg", "a/a_0001.jpg"),
        ("D:\\faces\\a\\a_0002.png", "a/a_0002.png"),
    ],
)
def test_names_find_their_files(folder, name, file):
    assert find_images(folder, [name]) == [folder / file]


@pytest.mark.parametrize(("name", "file"), [("a/x", "x.JPG"), ("a/x.jpg", "x.JPG"), ("a/x.PNG", "x.png")])
def test_the_case_of_an_extension_does_not_count(tmp_path, name, file):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / file).touch()
    [found] = find_images(tmp_path, [name])
    assert found.samefile(tmp_path / "a" / file)


def test_missing_images_are_listed(folder):
    with pytest.raises(UserError, match="2 of 3 images are not in .*: a/a_0003, c/c_0001.jpg$"):
        find_images(folder, ["a/a_0003", "a/a_0001", "c/c_0001.jpg"])
    with pytest.raises(UserError, match="name 19 and 5 more$"):
        find_images(folder, [f"name {index}" for index in range(25)])


@pytest.mark.parametrize("name", ["../secret.jpg", "a/../../secret.jpg", "a\\..\\..\\secret.jpg", "a\0.jpg"])
def test_names_never_lead_out_of_the_folder(folder, name):
    (folder.parent / "secret.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="leads out of"):
        find_images(folder, [name])


@pytest.mark.parametrize("name", ["/secret.jpg", "x" * 300 + ".jpg"])
def test_other_odd_names_are_not_there(folder, monkeypatch, name):
    asked = []
    monkeypatch.setattr("os.path.isfile", lambda path: asked.append(path) or False)
    with pytest.raises(UserError, match="are not in"):
        find_images(folder, [name])
    assert asked and all(path.is_relative_to(folder) for path in asked)


def test_the_root_is_no_name(folder):
    with pytest.raises(UserError, match="'/' leads out of"):
        find_images(folder, ["/"])


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        find_images(tmp_path / "nowhere", ["a"])


def test_stems_drop_image_extensions_only():
    assert [stem(name) for name in ("a/b.jpg", "a\\b.PNG", "a/b.c", "./a/b")] == ["a/b", "a/b", "a/b.c", "a/b"]


def test_a_row_is_found_as_it_is_written_and_else_without_its_extension():
    names = ["a/1.png", "a\\1.jpg", "a/2.png", "a/3"]
    wanted = ["a/1.jpg", "a/1.png", "a/2.jpg", "a/3.jpg", "a/4"]
    assert list(rows_of(names, wanted, "E.npz").values()) == [1, 0, 2, 3]


@pytest.mark.parametrize("names", [["a/1.jpg", "b/1", "a/1.png"], ["a/1", "b/1", "a/1"]])
def test_a_name_that_may_be_two_rows_is_an_error_that_names_both(names):
    with pytest.raises(UserError, match=r"^E\.npz: 'a/1' may be 'a/1.*' \(row 0\) or 'a/1.*' \(row 2\)"):
        rows_of(names, ["b/1", "a/1"], "E.npz")


@pytest.mark.parametrize(("name", "pairs", "people"), [("pairs", 6000, 4281), ("pairsDevTrain", 2200, 2132)])
def test_lfws_lists(name, pairs, people):
    path = Path(os.environ.get("LSOFTMAX_DATA", "outputs/data")) / "lfw" / f"{name}.txt"
    if not path.exists():
        pytest.skip("LFW's lists are not here")
    found = read_pairs(path)
    assert len(found) == pairs and found.same.sum() == pairs // 2
    assert len({image.split("/")[0] for image in found.names()}) == people
    if name == "pairs":
        assert len(found.names()) == 7701 and np.bincount(found.folds).tolist() == [600] * 10
