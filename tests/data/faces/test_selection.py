"""Who is left out of a pack: the overlap lists, people with few images, labels without ids."""

from collections import Counter

import numpy as np
import pytest

from data.faces.catalogue import Catalogue
from data.faces.copies import nearest_copy
from data.faces.overlap import FACESCRUB42, HN16, HN17, PRESUMED_LABELS, SF3, UNION19, excluded
from data.faces.selection import select
from lsoftmax.errors import UserError

# the overlap lists


def test_the_built_in_lists_have_the_published_sizes_and_nest() -> None:
    assert [len(set(names)) for names in (SF3, HN16, HN17, UNION19, FACESCRUB42)] == [3, 16, 17, 19, 42]
    assert set(SF3) < set(HN16) < set(UNION19) == {*HN16, *HN17}
    assert set(HN16) - set(HN17) == {"0454042", "0706787"}  # said of the list alone, not of its details
    assert all(len(name) == 7 and name.isdigit() for name in (*UNION19, *FACESCRUB42))
    assert set(PRESUMED_LABELS) == set(UNION19) - set(SF3)


def test_several_lists_and_a_file_are_joined(tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("0000045 Someone\n\n0000099\n")
    assert excluded(f"sf3,{tmp_path / 'mine.txt'}") == {*SF3, "0000045", "0000099"}
    assert excluded("none") == set() and excluded("union19, facescrub") == {*UNION19, *FACESCRUB42}


def test_an_unknown_list_is_one_line() -> None:
    with pytest.raises(UserError, match="exclude=lfw17: neither a file nor one of sf3, hn16"):
        excluded("lfw17")


# selection


def catalogue(people: list[str], **other) -> Catalogue:
    classes = sorted(set(people))
    names = [f"{person}/{k}.jpg" for k, person in enumerate(people)]
    labels = np.array([classes.index(person) for person in people])
    return Catalogue("folder", "x", names, labels, classes, names, lambda key: b"", "0", **other)


def ranked(form: str = "d", **other) -> Catalogue:
    """The copy for which labels are presumed: numbers alone."""
    classes = [format(label, form) for label in range(10_572)]
    classes = sorted(classes) if other.get("has_ids") else classes
    return Catalogue(
        "x", "x", classes, np.arange(10_572), classes, classes, lambda key: b"", "0", **{"has_ids": False} | other
    )


def test_the_excluded_go_and_labels_close_up() -> None:
    found = select(catalogue(["0000045", "0166921", "0166921", "0000099"]), exclude="sf3")
    assert found.rows.tolist() == [0, 3] and found.labels.tolist() == [0, 1]
    assert found.classes == ["0000045", "0000099"] and found.excluded == ["0166921"]
    assert Counter(reason for _, reason in found.left_out) == {"excluded (exclude=sf3)": 2}


def test_people_with_few_images_go() -> None:
    found = select(catalogue(["a", "b", "b", "c", "c", "c"]), exclude="none", min_images=2)
    assert found.rows.tolist() == [1, 2, 3, 4, 5] and found.labels.tolist() == [0, 0, 1, 1, 1]
    assert found.classes == ["b", "c"]
    assert found.left_out == [("a/0.jpg", "of a person with fewer than 2 images")]


def test_images_without_landmarks_go_before_people_are_counted() -> None:
    points = np.zeros((4, 5, 2))
    points[1] = np.nan
    found = select(catalogue(["a", "a", "b", "b"], landmarks=points), exclude="none", min_images=2, landmarks=True)
    assert found.rows.tolist() == [2, 3] and found.classes == ["b"]
    assert found.left_out == [("a/1.jpg", "no landmarks"), ("a/0.jpg", "of a person with fewer than 2 images")]


def test_labels_without_ids_need_a_decision() -> None:
    with pytest.raises(UserError, match=r"have no ids; give list=train.lst, or exclude=none, or exclude_by_rank=true"):
        select(catalogue(["a", "b"], has_ids=False), exclude="union19")
    assert len(select(catalogue(["a", "b"], has_ids=False), exclude="none").rows) == 2


def test_presumed_labels_are_for_that_copy_alone() -> None:
    with pytest.raises(UserError, match="exclude_by_rank=true is for 10,572 classes, x has 2"):
        select(catalogue(["a", "b"], has_ids=False), by_rank=True)
    found = select(ranked(), exclude="union19", by_rank=True)
    assert len(found.classes) == 10_572 - 16
    assert not {"176", "832", "9770"} & set(found.classes) and {"175", "177"} < set(found.classes)
    assert found.presumed["0000513"] == 176


def test_people_without_a_presumed_label_are_not_left_in_silently(tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("0000045\n0000513\n")
    for exclude, part in (
        ("facescrub", r"\(42 of facescrub\), they would stay; give list=train.lst, or exclude= without facescrub"),
        ("union19,facescrub", r"\(42 of facescrub\)"),
        (f"hn16,{tmp_path / 'mine.txt'}", r"\(1 of .*mine\.txt\)"),
    ):
        with pytest.raises(UserError, match=part):
            select(ranked(), exclude=exclude, by_rank=True)


@pytest.mark.parametrize("names", [["000000", "000001"], ["7", "10"], ["0000000", "0000001"]])
def test_folders_named_by_labels_need_a_decision_too(names) -> None:
    with pytest.raises(UserError, match=rf"folders of x \({min(names)}, ...\) seem to be named by labels"):
        select(catalogue(names), exclude="union19")
    assert len(select(catalogue(names), exclude="none").rows) == 2


@pytest.mark.parametrize("names", [["0000045", "0000099"], ["000000", "10575"], ["000000", "0000513"], ["a", "0"]])
def test_other_names_are_ids(names) -> None:
    found = select(catalogue(names), exclude="union19", by_rank=True)
    assert found.excluded == [name for name in names if name in UNION19]
    assert found.notes == ["exclude_by_rank=true has no effect: the classes of x have ids"]


@pytest.mark.parametrize("form", ["d", "06d"])
def test_folders_named_by_labels_are_ranked_as_numbers(form) -> None:
    found = select(ranked(form, has_ids=True), exclude="union19", by_rank=True)
    assert len(found.classes) == 10_572 - 16
    assert not {format(label, form) for label in PRESUMED_LABELS.values()} & set(found.classes)


def test_nobody_left_is_one_line() -> None:
    with pytest.raises(UserError, match="no image is left after exclude=none, min_images=3"):
        select(catalogue(["a", "b", "b"]), exclude="none", min_images=3)


def test_known_copies_are_named_by_their_counts() -> None:
    assert "as many as the official" in nearest_copy(494_414, 10_575)
    assert "nearest to InsightFace" in nearest_copy(490_600, 10_572)
    assert nearest_copy(13_233, 5_749) == ""
