"""Identity folders and zips: what is found in them, and who is on it."""

import zipfile

import pytest

from data.faces import ImageError
from data.faces.archive import ZipImages
from data.faces.names import OF_ANOTHER_KIND
from data.faces.sources import open_source
from lsoftmax.errors import UserError

from .conftest import TREE, contents, people, write_zip


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


@pytest.mark.parametrize("number", [2**44, 2**62, 2**63, 2**64 - 1])
@pytest.mark.parametrize("field", ["packed", "offset"])
def test_a_member_beyond_the_end_is_an_image_error(tmp_path, files, field, number) -> None:
    images = ZipImages(write_zip(tmp_path / "x.zip", files))
    name = images.names[0]
    images._members[name] = images._members[name]._replace(**{field: number})
    with pytest.raises(ImageError, match="beyond its end"):
        images.read(name)


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


def test_images_that_are_not_read_and_folders_within_are_counted(folder, files) -> None:
    content = next(iter(files.values()))
    for name in ("a.webp", "b.TIF"):
        (folder / "0000045" / name).write_bytes(content)
    (folder / "0000045" / "more").mkdir()
    catalogue = open_source(folder)
    assert contents(catalogue) == files
    assert catalogue.left_out == [
        ("0000045/a.webp", OF_ANOTHER_KIND),
        ("0000045/b.TIF", OF_ANOTHER_KIND),
        ("0000045/more", "a folder within a folder of images"),
    ]


def test_images_of_a_zip_that_are_not_read_are_counted(tmp_path, files) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/1.jpg", next(iter(files.values())))
        archive.writestr("a/2.webp", b"x")
        archive.writestr("a/notes.txt", b"x")
    assert open_source(tmp_path / "x.zip").left_out == [("a/2.webp", OF_ANOTHER_KIND)]
