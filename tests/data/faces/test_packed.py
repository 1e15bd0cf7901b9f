"""PackedFaces, what training and testing must agree on, who is selected, and the image file under interruptions."""

import json
import pickle
import sys
import types
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data.faces import Crop, PackedFaces, check_same_preparation
from data.faces.catalogue import Catalogue
from data.faces.copies import nearest_copy
from data.faces.detector import Detector
from data.faces.image_file import ImageFile
from data.faces.overlap import FACESCRUB42, HN16, HN17, PRESUMED_LABELS, SF3, UNION19, excluded
from data.faces.parts import Done, Journal
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


# the image file


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


def test_what_nobody_knows_of_is_made_anew(tmp_path) -> None:
    filled(tmp_path / "images.npy", 3)
    other = ImageFile(tmp_path / "images.npy", 5, (112, 96))
    other.create()
    assert np.load(tmp_path / "images.npy").shape[0] == 3
    other.create(anew=True)
    assert np.load(tmp_path / "images.npy").shape == (5, 3, 112, 96)


# the pack


@pytest.fixture
def pack(tmp_path) -> Path:
    folder = tmp_path / "pack"
    folder.mkdir()
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (4, 3, 112, 96), dtype=np.uint8))
    np.save(folder / "labels.npy", np.array([0, 0, 1, 2]))
    (folder / "names.txt").write_text("a/1.jpg\na/2.jpg\nb/1.jpg\nc/1.jpg\n")
    manifest = {"format": 1, "images": 4, "identities": 3, "classes": ["a", "b", "c"], **Crop(align="none").describe()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_pack_gives_what_is_in_it(pack) -> None:
    faces = PackedFaces(pack)
    assert len(faces) == 4 and faces.num_classes == 3 and faces.classes == ["a", "b", "c"]
    assert isinstance(faces.images, np.memmap) and not faces.images.flags.writeable
    assert np.array_equal(faces.images, np.load(pack / "images.npy"))
    assert faces.labels.tolist() == [0, 0, 1, 2] and faces.names[2] == "b/1.jpg"


def test_rows_of_a_pack_are_found_by_exact_names_first(pack) -> None:
    (pack / "names.txt").write_text("a/1.jpg\na/1.png\nb/1.jpg\nc/1.jpg\n")
    assert PackedFaces(pack).rows(["a/1.jpg", "b/1", "a/1.png"]).tolist() == [0, 2, 1]
    with pytest.raises(UserError, match="'a/1' may be 'a/1.jpg'"):
        PackedFaces(pack).rows(["a/1"])


def test_a_pickled_pack_holds_no_image(pack) -> None:
    content = pickle.dumps(PackedFaces(pack))
    assert len(content) < 10_000
    assert np.array_equal(pickle.loads(content).images, np.load(pack / "images.npy"))


def change(pack: Path, **other) -> None:
    manifest = json.loads((pack / "manifest.json").read_text())
    (pack / "manifest.json").write_text(json.dumps(manifest | other))


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda p: (p / "manifest.json").unlink(), "prepare_faces.py makes such a set"),
        (lambda p: (p / "manifest.json").write_text("{"), "damaged"),
        (lambda p: (p / "manifest.json").write_text("[" * 100_000), "damaged"),
        (lambda p: (p / "manifest.json").write_text("[]"), "damaged"),
        (lambda p: change(p, format=2), "format 2, this program reads 1"),
        (lambda p: change(p, images=5), "images.npy is uint8"),
        (lambda p: change(p, images="4"), "damaged"),
        (lambda p: change(p, size=[112, 112]), "images.npy is uint8"),
        (lambda p: change(p, classes=5), "classes is no list"),
        (lambda p: change(p, alignment="none"), "alignment names no method"),
        (lambda p: change(p, alignment={}), "alignment names no method"),
        (lambda p: change(p, identities=2), "3 classes are named of 2"),
        (lambda p: change(p, identities=2, classes=["a", "b"]), "labels outside 0 .. 1"),
        (lambda p: (p / "images.npy").unlink(), "images.npy: cannot be read"),
        (lambda p: (p / "images.npy").write_bytes(b""), "images.npy: cannot be read"),
        (lambda p: (p / "images.npy").write_bytes((p / "images.npy").read_bytes()[:-1]), "cannot be read"),
        (lambda p: np.save(p / "images.npy", np.zeros((4, 3, 112, 96))), "images.npy is float64"),
        (lambda p: np.save(p / "labels.npy", np.zeros(3, np.int64)), "labels.npy is int64"),
        (lambda p: np.save(p / "labels.npy", np.array([None] * 4), allow_pickle=True), "labels.npy: cannot be read"),
        (lambda p: np.save(p / "labels.npy", np.array([0, 0, 1, 3])), "labels outside"),
    ],
)
def test_a_damaged_pack_is_one_line(pack, damage, part) -> None:
    damage(pack)
    with pytest.raises(UserError) as caught:
        PackedFaces(pack)
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_a_pack_without_its_names_is_one_line(pack) -> None:
    (pack / "names.txt").unlink()
    with pytest.raises(UserError, match="names.txt: cannot be read"):
        _ = PackedFaces(pack).names


def test_the_same_preparation_is_accepted() -> None:
    assert check_same_preparation(Crop().describe(), Crop().describe()) == []


@pytest.mark.parametrize("other", [Crop((112, 112)), Crop(align="cp2tform"), Crop(align="fixed")])
def test_another_preparation_is_refused(other) -> None:
    with pytest.raises(UserError, match="prepared in another way"):
        check_same_preparation(Crop().describe(), other.describe())


@pytest.mark.parametrize("key", ["colour", "size"])
def test_another_colour_order_or_size_is_refused(key) -> None:
    with pytest.raises(UserError, match=f"{key} .* in training, .* here"):
        check_same_preparation(Crop().describe(), Crop().describe() | {key: "other"})


def test_an_older_pack_that_tells_a_normalisation_is_read(pack) -> None:
    change(pack, normalisation={"mean": 0, "scale": 1})
    assert PackedFaces(pack).preparation.keys() == {"size", "colour", "alignment"} == Crop().describe().keys()
    assert check_same_preparation(Crop().describe() | {"normalisation": 1}, Crop().describe()) == []


def test_images_aligned_elsewhere_are_said_not_refused() -> None:
    said = check_same_preparation(Crop(align="none").describe(), Crop().describe())
    assert len(said) == 1 and "make sure that they agree" in said[0]


# detectors


def several(image):
    face = np.array([[3, 3], [6, 3], [4, 5], [3, 7], [6, 7]], float)
    return np.stack([face, face + 45, face + 90])


def nothing(image):
    return None


def broken(image):
    raise RuntimeError("no weights")


def wrong(image):
    return np.zeros((2, 4, 2))


def test_of_several_faces_the_middle_one_counts(monkeypatch) -> None:
    module = types.ModuleType("mine")
    module.__dict__.update(several=several, nothing=nothing, broken=broken, wrong=wrong, number=lambda image: 5)
    monkeypatch.setitem(sys.modules, "mine", module)
    image = np.zeros((100, 100, 3), np.uint8)
    assert Detector("mine:several")(image)[0].tolist() == [48, 48]
    assert Detector("mine:nothing")(image) is None
    wanted = [("wrong", "wanted is"), ("number", "wanted is"), ("absent", "absent")]
    for name, part in (("broken", "RuntimeError: no weights"), *wanted):
        with pytest.raises(UserError, match=part):
            Detector(f"mine:{name}")(image)


@pytest.mark.parametrize(
    "text", ["", "module", ":function", "module:", "no_such_module:f", ".:x", "bad_syntax:f", "raises_at_import:f"]
)
def test_a_detector_that_is_none_is_one_line(text, tmp_path, monkeypatch) -> None:
    (tmp_path / "bad_syntax.py").write_text("def f(:\n")
    (tmp_path / "raises_at_import.py").write_text("raise RuntimeError('no\\nweights')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="detector=") as caught:
        Detector(text).check()
    assert "\n" not in str(caught.value)
