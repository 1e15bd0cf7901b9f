"""scripts/prepare_faces.py where a pack lies already, or has been begun: the same one, or another."""

import json

import pytest

from .conftest import options


def test_the_same_command_again_does_nothing(script, source, tmp_path) -> None:
    command = options(source, tmp_path / "pack", "aligned=true")
    script("prepare_faces", *command)
    before = (tmp_path / "pack" / "manifest.json").stat().st_mtime_ns
    said = script("prepare_faces", *command)
    assert said.code == 0 and "is there already" in said.out
    assert (tmp_path / "pack" / "manifest.json").stat().st_mtime_ns == before


def test_a_pack_of_an_older_version_whose_plan_tells_a_normalisation_is_the_same(script, source, tmp_path) -> None:
    command = options(source, tmp_path / "pack", "aligned=true")
    script("prepare_faces", *command)
    path = tmp_path / "pack" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["plan"]["normalisation"] = manifest["normalisation"] = {"mean": 127.5, "scale": 128.0}
    path.write_text(json.dumps(manifest))
    said = script("prepare_faces", *command)
    assert said.code == 0 and "is there already" in said.out


def test_another_command_does_not_replace_a_pack_nor_go_on_with_a_begun_one(script, source, tmp_path) -> None:
    script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true"))
    said = script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true", "min_images=2"))
    assert said.code == 2 and "holds a pack made otherwise" in said.err
    (source / "0000045" / "001.jpg").write_bytes(b"")
    (source / "0000045" / "002.jpg").write_bytes(b"x")
    script("prepare_faces", *options(source, tmp_path / "begun", "aligned=true"))
    said = script("prepare_faces", *options(source, tmp_path / "begun", "aligned=true", "size=112x112"))
    assert said.code == 2 and "is the beginning of another pack (" in said.err


@pytest.mark.parametrize("change", ["swap_rb=true", "exclude=none", "size=112x112"])
def test_another_way_to_prepare_is_another_pack(script, source, tmp_path, change) -> None:
    command = options(source, tmp_path / "pack", "aligned=true")
    script("prepare_faces", *command)
    said = script("prepare_faces", *command, change)
    assert said.code == 2 and "holds a pack made otherwise" in said.err


def test_images_of_other_sizes_under_the_same_names_are_another_pack(script, source, tmp_path) -> None:
    command = options(source, tmp_path / "pack", "aligned=true")
    script("prepare_faces", *command)
    path = source / "0000045" / "001.jpg"
    path.write_bytes(path.read_bytes() + b"\0")
    said = script("prepare_faces", *command)
    assert said.code == 2 and "holds a pack made otherwise" in said.err
