"""Folders, zips, lists, landmark lists and record sets: what is found in them, and who is on it."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from data.faces.landmarks import face_like, read_landmarks
from data.faces.lists import read_list
from data.faces.sources import open_source
from data.faces.templates import SPHEREFACE
from lsoftmax.errors import UserError

from .conftest import image_record

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


# folders and zips


def test_a_folder_gives_every_image_and_its_person(folder, files) -> None:
    catalogue = open_source(folder)
    assert contents(catalogue) == files
    assert catalogue.classes == list(TREE)
    assert people(catalogue) == [name.split("/")[0] for name in catalogue.names]


def test_one_more_level_above_is_passed_through(folder, files, tmp_path) -> None:
    assert contents(open_source(tmp_path)) == files


def test_people_are_ranked_byte_by_byte(tmp_path, files) -> None:
    content = next(iter(files.values()))
    for name in ("b", "B", "10", "9", "é", "a_b", "a-b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(content)
    assert open_source(tmp_path).classes == sorted(["b", "B", "10", "9", "é", "a_b", "a-b"], key=str.encode)


def test_what_is_no_image_is_passed_over_and_empty_files_are_counted(folder, files) -> None:
    content = next(iter(files.values()))
    for name in ("Thumbs.db", ".hidden.jpg", "notes.txt", "._001.jpg"):
        (folder / "0000045" / name).write_bytes(content)
    (folder / "0000045" / "zero.jpg").write_bytes(b"")
    (folder / "empty").mkdir()
    (folder / "__MACOSX").mkdir()
    (folder / "0000045" / "UPPER.JPEG").write_bytes(content)
    catalogue = open_source(folder)
    assert contents(catalogue) == files | {"0000045/UPPER.JPEG": content}
    assert catalogue.left_out == [("0000045/zero.jpg", "empty")]
    assert catalogue.classes == list(TREE)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("top", ["", "casia/", "./", "a/b/"])
@pytest.mark.parametrize("slash", ["/", "\\"])
def test_a_zip_gives_the_same(tmp_path, files, compression, top, slash) -> None:
    path = write_zip(
        tmp_path / "casia.zip", {(top + name).replace("/", slash): file for name, file in files.items()}, compression
    )
    catalogue = open_source(path)
    assert list(contents(catalogue).values()) == list(files.values())
    assert catalogue.classes == list(TREE) and people(catalogue) == [name.split("/")[0] for name in files]


def test_a_zip_of_the_large_form_is_read(tmp_path, files) -> None:
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(content)
    assert contents(open_source(path)) == files


def test_a_zip_behind_other_bytes_is_read(tmp_path, files) -> None:
    path = write_zip(tmp_path / "x.zip", files)
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    assert contents(open_source(path)) == files


def test_hostile_members_are_left_out_and_nothing_is_written(tmp_path, files) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = inside / "x.zip"
    content = next(iter(files.values()))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as archive:
        for name in ("../a/1.jpg", "/abs/1.jpg", "C:/x/1.jpg", "a/../../1.jpg", "a/\n/1.jpg"):
            archive.writestr(name, content)
        link = zipfile.ZipInfo("link/1.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a/1.jpg", content)
        archive.writestr("a/1.jpg", b"other")
        archive.writestr("__MACOSX/a/._1.jpg", b"x")
        archive.writestr("empty/1.jpg", b"")
        archive.writestr("top.jpg", content)
    catalogue = open_source(path)
    assert contents(catalogue) == {"a/1.jpg": content}
    assert sorted(reason for _, reason in catalogue.left_out) == [
        "a second member of that name",
        "a symbolic link",
        "empty",
        "in no identity folder",
        *["its path leaves the archive"] * 5,
    ]
    assert [file.name for file in tmp_path.rglob("*")] == ["inside", "x.zip"]


def test_a_zip_bomb_is_not_unpacked(tmp_path, files) -> None:
    path = write_zip(tmp_path / "x.zip", {"a/1.jpg": b"\0" * 2**24, "a/2.jpg": next(iter(files.values()))})
    catalogue = open_source(path)
    with pytest.raises(UserError, match="claim to unpack to 16,777,216"):
        catalogue.read("a/1.jpg")
    assert catalogue.read("a/2.jpg")


def test_a_member_larger_than_it_says_stops_one_byte_later(tmp_path) -> None:
    path = write_zip(tmp_path / "x.zip", {"a/1.jpg": b"\0" * 2**20})
    content = path.read_bytes()
    path.write_bytes(content.replace((2**20).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    with pytest.raises(UserError, match="not the bytes its directory promises"):
        open_source(path).read("a/1.jpg")


def test_an_encrypted_zip_is_one_line(tmp_path, files) -> None:
    path = write_zip(tmp_path / "x.zip", files)
    content = bytearray(path.read_bytes())
    content[content.find(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="encrypted"):
        open_source(path)


def test_other_compression_is_left_out(tmp_path, files) -> None:
    with pytest.raises(UserError, match="no images"):
        open_source(write_zip(tmp_path / "x.zip", files, zipfile.ZIP_LZMA))


@pytest.mark.parametrize("name", ["x.tar", "x.zip", "x"])
def test_another_kind_of_file_is_one_line(tmp_path, name) -> None:
    (tmp_path / name).write_bytes(b"whatever")
    with pytest.raises(UserError, match="neither a folder, a zip nor a .rec file"):
        open_source(tmp_path / name)


def test_a_missing_source_is_one_line(tmp_path) -> None:
    with pytest.raises(UserError, match="not there"):
        open_source(tmp_path / "none")


def test_the_fingerprint_is_of_names_and_contents(folder, tmp_path, files) -> None:
    before = open_source(folder).fingerprint
    assert open_source(folder).fingerprint == before
    (folder / "0000045" / "001.jpg").write_bytes(b"longer than it was" * 999)
    assert open_source(folder).fingerprint != before


# lists

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


def test_missing_images_are_an_error_with_examples_up_to_the_share(folder, tmp_path) -> None:
    (tmp_path / "list.txt").write_text(FORMS["space"] + "0000045/999.jpg 7\n../../etc/x.jpg 7\n")
    with pytest.raises(UserError, match=r"2 of 6 images are not in .*'0000045/999\.jpg' \(line 5\)"):
        open_source(folder, list_path=str(tmp_path / "list.txt"))
    catalogue = open_source(folder, list_path=str(tmp_path / "list.txt"), max_missing=0.5)
    assert len(catalogue) == 4 and catalogue.left_out[-1] == ("../../etc/x.jpg", "listed but missing")


# landmarks

FACES = SPHEREFACE + np.arange(6)[:, None, None] * 3


def lines(faces: np.ndarray, form: str, files: dict[str, bytes]) -> str:
    text = ""
    for name, five in zip(files, faces, strict=True):
        inter, apart = (" ".join(f"{value:.4f}" for value in order.ravel()) for order in (five, five.T))
        text += {
            "interleaved": f"{name} {inter}\n",
            "apart": f"{name} {apart}\n",
            "sfpt": f"{name}\t" + "\t".join(inter.split()) + "\n",
            "sfpt casia": f"{name}\t12\t" + "\t".join(inter.split()) + "\n",
            "with box": f"{name} 1 2 3 4 {apart}\n",
            "csv": f"{name}," + ",".join(inter.split()) + "\n",
            "insightface": f"0\t{name}\t5\t1\t2\t3\t4\t" + "\t".join(apart.split()) + "\n",
            "celeba": f"{name}   " + "   ".join(inter.split()) + "\n",
        }[form]
    return "6\nlefteye_x lefteye_y ...\n" + text if form == "celeba" else text


@pytest.mark.parametrize(
    "form", ["interleaved", "apart", "sfpt", "sfpt casia", "with box", "csv", "insightface", "celeba"]
)
def test_landmarks_in_any_form_are_the_same_points(tmp_path, files, form) -> None:
    (tmp_path / "landmarks.txt").write_text(lines(FACES, form, files))
    found = read_landmarks(tmp_path / "landmarks.txt")
    assert found.names == list(files)
    np.testing.assert_allclose(found.points, FACES, atol=1e-4)


@pytest.mark.parametrize("shape", [(6, 5, 2), (6, 10)])
def test_landmarks_of_an_npz_are_the_same_points(tmp_path, files, shape) -> None:
    np.savez(tmp_path / "x.npz", names=np.array(list(files)), landmarks=FACES.reshape(shape).astype(np.float32))
    np.testing.assert_allclose(read_landmarks(tmp_path / "x.npz").points, FACES, atol=1e-4)


def test_landmarks_are_given_to_the_images_they_name(folder, tmp_path, files) -> None:
    part = dict(list(files.items())[:4])
    (tmp_path / "l.txt").write_text(lines(FACES[:4], "interleaved", part).replace("0000", "casia/0000"))
    catalogue = open_source(folder, landmarks=str(tmp_path / "l.txt"))
    np.testing.assert_allclose(catalogue.landmarks[:4], FACES[:4], atol=1e-4)
    assert np.isnan(catalogue.landmarks[4:]).all()
    assert any("of 4 of 6 images" in note for note in catalogue.notes)


def test_swapped_eyes_are_refused(tmp_path, files) -> None:
    (tmp_path / "l.txt").write_text(lines(FACES[:, [1, 0, 2, 4, 3]], "interleaved", files))
    with pytest.raises(UserError, match=r"only 0% of the faces .* left eye, right eye"):
        read_landmarks(tmp_path / "l.txt")


def test_a_line_without_five_landmarks_is_named(tmp_path, files) -> None:
    (tmp_path / "l.txt").write_text(lines(FACES, "interleaved", files) + "a/1.jpg 1 2 3\n")
    with pytest.raises(UserError, match="line 7: .* no image with five landmarks"):
        read_landmarks(tmp_path / "l.txt")


def test_landmarks_of_other_images_are_an_error(folder, tmp_path, files) -> None:
    (tmp_path / "l.txt").write_text(lines(FACES, "interleaved", {f"x/{k}.jpg": b"" for k in range(6)}))
    with pytest.raises(UserError, match="names none of the images"):
        open_source(folder, landmarks=str(tmp_path / "l.txt"))


def test_an_npz_of_objects_is_refused(tmp_path) -> None:
    np.savez(tmp_path / "x.npz", names=np.array(["a", None], dtype=object), landmarks=FACES[:2])
    with pytest.raises(UserError, match="cannot be read"):
        read_landmarks(tmp_path / "x.npz")


def test_face_like_is_as_defined() -> None:
    assert face_like(SPHEREFACE[None]).all()
    assert not face_like(SPHEREFACE[None] * [1, -1]).any()  # upside down
    assert not face_like(SPHEREFACE[None] * [-1, 1]).any()  # mirrored


# record sets


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


def test_a_train_lst_that_contradicts_itself_is_not_used(insightface, files) -> None:
    path = insightface()
    path.with_suffix(".lst").write_text("".join(f"1\t/x/{name}\t0\n" for name in files))
    catalogue = open_source(path)
    assert not catalogue.has_ids and "not used" in catalogue.notes[0]


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
