"""scripts/prepare_faces.py: from a source to a pack, and what it says about what it cannot do."""

import errno
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.faces import PackedFaces, decode
from data.faces.catalogue import digest
from data.faces.templates import SPHEREFACE
from data.faces.verification import read_test_pairs
from lsoftmax.errors import UserError

from .conftest import options, write_people

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # no test here cuts the power


def test_a_folder_becomes_a_pack(script, source, tmp_path) -> None:
    said = script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true"))
    assert said.code == 0, said.err
    pack = PackedFaces(tmp_path / "pack")
    assert pack.classes == ["0000045", "0000099"] and pack.labels.tolist() == [0, 0, 0, 1]
    for image, name in zip(pack.images, pack.names, strict=True):
        assert np.array_equal(image.transpose(1, 2, 0), decode((source / name).read_bytes()))
    assert pack.manifest["left_out"] == {"excluded": 2} and pack.manifest["excluded"] == ["0166921"]
    assert pack.manifest["images_per_identity"] == {"min": 1, "median": 2.0, "max": 3}
    assert (tmp_path / "pack" / "left_out.tsv").read_text().count("\n") == 2
    assert "4 images of 2 people" in said.out and "1 of these people are in the source" in said.out
    assert sorted(file.name for file in (tmp_path / "pack").iterdir()) == [
        *("images.npy", "labels.npy", "left_out.tsv", "manifest.json", "names.txt")
    ]


def test_an_option_without_effect_is_said_once_and_recorded(script, source, tmp_path) -> None:
    said = script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true", "exclude_by_rank=true"))
    assert said.code == 0 and said.out.count("note     exclude_by_rank=true has no effect") == 1
    assert "warning" not in said.out and "exclude_by_rank" in PackedFaces(tmp_path / "pack").manifest["notes"][0]


def test_options_reach_the_pack(script, source, tmp_path) -> None:
    said = script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true", "exclude=none", "swap_rb=true"))
    assert said.code == 0
    pack = PackedFaces(tmp_path / "pack")
    assert len(pack) == 6 and pack.manifest["swap_rb"] is True
    wanted = decode((source / pack.names[0]).read_bytes())[..., ::-1]
    assert np.array_equal(pack.images[0].transpose(1, 2, 0), wanted)
    script("prepare_faces", *options(source, tmp_path / "two", "aligned=true", "exclude=none", "min_images=3"))
    assert PackedFaces(tmp_path / "two").classes == ["0000045"]


def test_workers_make_the_same_pack(script, tmp_path) -> None:
    source = write_people(tmp_path / "many", {f"p{k:03d}": 1 + k % 4 for k in range(300)}, 12, 10)
    digests = set()
    for workers in (1, 3):
        out = tmp_path / f"pack{workers}"
        said = script("prepare_faces", f"source={source}", f"out={out}", f"workers={workers}", "aligned=true")
        assert said.code == 0, said.err
        digests.add(tuple(hashlib.sha256((out / name).read_bytes()).hexdigest() for name in os.listdir(out)))
    assert len(digests) == 1


def test_landmarks_align(script, tmp_path) -> None:
    source = write_people(tmp_path / "raw", {"a": 2, "b": 1}, 250, 250)
    points = SPHEREFACE * 1.1 + [70, 60]
    names = ["a/001.jpg", "a/002.jpg", "b/001.jpg"]
    text = "".join(f"{name} " + " ".join(f"{value:.3f}" for value in points.ravel()) + "\n" for name in names[:2])
    (tmp_path / "landmarks.txt").write_text(text)
    said = script("prepare_faces", *options(source, tmp_path / "pack", f"landmarks={tmp_path / 'landmarks.txt'}"))
    assert said.code == 0, said.err
    pack = PackedFaces(tmp_path / "pack")
    assert pack.names == names[:2] and pack.manifest["left_out"] == {"no landmarks": 1}
    assert pack.manifest["alignment"] == {"method": "umeyama", "template": "SphereFace"}
    wide = script(
        "prepare_faces",
        *options(source, tmp_path / "wide", f"landmarks={tmp_path / 'landmarks.txt'}", "size=112x112"),
    )
    assert wide.code == 0
    # The wide crop is the narrow one with 8 more columns on either side.
    difference = PackedFaces(tmp_path / "wide").images[..., 8:104].astype(int) - pack.images
    assert np.abs(difference).max() <= 1


def test_a_detector_of_the_users_own_is_asked(script, tmp_path, monkeypatch) -> None:
    source = write_people(tmp_path / "raw", {"a": 3, "b": 1}, 250, 250)
    (tmp_path / "my_detector.py").write_text(
        "import numpy as np\nfrom data.faces.templates import SPHEREFACE\n"
        "def find(image):\n    return None if image[0, 0, 0] % 2 else (SPHEREFACE * 1.1 + [70, 60])[None]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    said = script("prepare_faces", *options(source, tmp_path / "pack", "detector=my_detector:find"))
    odd = [bool(decode(path.read_bytes())[0, 0, 0] % 2) for path in sorted(source.rglob("*.jpg"))]
    assert 0 < sum(odd) <= 2 and said.code == 0, said.err
    pack = PackedFaces(tmp_path / "pack")
    assert len(pack) == 4 - sum(odd) and pack.manifest["left_out"] == {"no landmarks": sum(odd)}


def test_sizes_that_are_no_aligned_ones_are_warned_about(script, tmp_path) -> None:
    source = write_people(tmp_path / "raw", {"a": 2}, 250, 250)
    said = script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true"))
    assert said.code == 0 and "warning  2 images: of another size than 112 x 96, scaled" in said.out


def test_a_blue_set_is_warned_about(script, tmp_path) -> None:
    (tmp_path / "blue" / "a").mkdir(parents=True)
    Image.new("RGB", (96, 112), (80, 90, 120)).save(tmp_path / "blue" / "a" / "1.png")
    said = script("prepare_faces", *options(tmp_path / "blue", tmp_path / "pack", "aligned=true"))
    assert "swap_rb=true" in said.out
    said = script("prepare_faces", *options(tmp_path / "blue", tmp_path / "other", "aligned=true", "swap_rb=true"))
    assert "swap_rb" not in said.out


def test_corrupt_images_are_listed_and_skipped_up_to_the_share(script, source, tmp_path) -> None:
    whole = (source / "0000045" / "002.jpg").read_bytes()
    (source / "0000045" / "002.jpg").write_bytes(whole[: len(whole) // 2])
    said = script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true", "exclude=none"))
    assert (
        said.code == 2 and "1 of 6 images are corrupt" in said.err and "0000045/002.jpg: cannot be decoded" in said.err
    )
    assert said.err.count("error:") == 1 and not (tmp_path / "pack").exists()
    listed = (tmp_path / "pack.part" / "corrupt.tsv").read_text()
    assert listed.startswith("0000045/002.jpg\tcannot be decoded")
    said = script(
        "prepare_faces", *options(source, tmp_path / "pack", "aligned=true", "exclude=none", "max_corrupt=0.2")
    )
    assert said.code == 0, said.err
    assert not (tmp_path / "pack" / "corrupt.tsv").exists()  # it was of the share before
    pack = PackedFaces(tmp_path / "pack")
    assert sorted(pack.names) == [
        "0000045/001.jpg",
        "0000045/003.jpg",
        "0000099/001.jpg",
        "0166921/001.jpg",
        "0166921/002.jpg",
    ]
    for image, name, label in zip(pack.images, pack.names, pack.labels, strict=True):
        assert np.array_equal(image.transpose(1, 2, 0), decode((source / name).read_bytes()))
        assert pack.classes[label] == name.split("/")[0]
    assert "cannot be decoded" in (tmp_path / "pack" / "left_out.tsv").read_text()


def test_the_mean_colour_of_a_small_set_is_that_of_all_its_images(script, tmp_path) -> None:
    (tmp_path / "two" / "0000099").mkdir(parents=True)
    for name, colour in (("1", (200, 0, 40)), ("2", (0, 100, 40))):
        Image.new("RGB", (96, 112), colour).save(tmp_path / "two" / "0000099" / f"{name}.png")
    assert script("prepare_faces", *options(tmp_path / "two", tmp_path / "pack", "aligned=true")).code == 0
    assert PackedFaces(tmp_path / "pack").manifest["mean_rgb"] == [100, 50, 40]


def test_a_pack_tells_the_digest_of_the_files_it_was_made_of(script, source, tmp_path) -> None:
    assert script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true", "exclude=none")).code == 0
    pack = PackedFaces(tmp_path / "pack")
    content = b"".join((source / name).read_bytes() for name in sorted(pack.names))
    assert pack.manifest["source"]["sha256"] == digest([hashlib.sha256(content).hexdigest()])


@pytest.mark.parametrize(("share", "code"), [("0.2", 0), ("0.19", 2)])
def test_as_many_corrupt_images_as_the_share_are_skipped(script, tmp_path, share, code) -> None:
    source = write_people(tmp_path / "five", {"0000099": 5})
    (source / "0000099" / "003.jpg").write_bytes(b"none")
    asked = options(source, tmp_path / "pack", "aligned=true", "exclude=none", f"max_corrupt={share}")
    assert script("prepare_faces", *asked).code == code


def test_the_shares_that_may_be_wrong_are_those_of_the_help(script, source, tmp_path, monkeypatch) -> None:
    from data.faces import pack, sources

    asked, opened = {}, sources.open_source
    monkeypatch.setattr(sources, "open_source", lambda *of, **how: asked.update(how) or opened(*of, **how))
    monkeypatch.setattr(pack.Packing, "__init__", lambda packing, *of, **how: asked.update(how) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true"))
    assert (asked["max_corrupt"], asked["max_missing"]) == (0.001, 0.01)


def test_who_has_too_few_whole_images_is_left_out(script, source, tmp_path) -> None:
    (source / "0166921" / "001.jpg").write_bytes(b"\xff\xd8\xff")
    command = options(source, tmp_path / "pack", "aligned=true", "exclude=none", "min_images=2", "max_corrupt=1")
    assert script("prepare_faces", *command).code == 0
    pack = PackedFaces(tmp_path / "pack")
    assert pack.classes == ["0000045"] and pack.labels.tolist() == [0, 0, 0]


def test_what_the_source_leaves_out_is_listed_too(script, source, tmp_path) -> None:
    (source / "0000045" / "zero.jpg").write_bytes(b"")
    assert script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true")).code == 0
    assert (tmp_path / "pack" / "left_out.tsv").read_text().splitlines()[0] == "0000045/zero.jpg\tempty"
    assert PackedFaces(tmp_path / "pack").manifest["left_out"] == {"excluded": 2, "empty": 1}


def test_where_most_images_cannot_be_aligned_landmarks_are_wrong(script, tmp_path) -> None:
    source = write_people(tmp_path / "raw", {"a": 3}, 250, 250)
    right = SPHEREFACE * 1.1 + [70, 60]
    wrong = right + np.array([[0, 0], [0, 0], [150, 0], [0, 0], [0, 0]])  # where the nose is
    points = {"a/001.jpg": right, "a/002.jpg": wrong, "a/003.jpg": wrong}
    text = "".join(f"{name} {' '.join(map(str, found.ravel()))}\n" for name, found in points.items())
    (tmp_path / "landmarks.txt").write_text(text)
    said = script("prepare_faces", *options(source, tmp_path / "pack", f"landmarks={tmp_path / 'landmarks.txt'}"))
    assert said.code == 2 and "2 of 3 images cannot be aligned, a/002.jpg: landmarks miss a face" in said.err
    assert not (tmp_path / "pack").exists()


def test_a_folder_that_is_no_pack_is_not_touched(script, source, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    said = script("prepare_faces", *options(source, tmp_path / "mine", "aligned=true"))
    assert said.code == 2 and "no pack of this program" in said.err and not list((tmp_path / "mine").iterdir())


def test_a_full_disk_is_noticed_before_anything_is_written(script, source, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 1000))
    said = script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true"))
    assert said.code == 2 and "takes 0.00 GB more, only 0.00 GB are free" in said.err
    assert not (tmp_path / "pack.part" / "images.npy").exists()


@pytest.mark.parametrize("work", ["create", "write", "compact"])
def test_a_disk_that_is_full_later_is_one_line_that_names_the_file(script, source, tmp_path, monkeypatch, work) -> None:
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"data.faces.image_file.ImageFile.{work}", full)
    said = script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true", "workers=1"))
    assert said.code == 2 and re.search(r"error: cannot write .*images\.npy: No space left on device", said.err)
    monkeypatch.undo()
    assert script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true", "workers=1")).code == 0


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (["out=x"], "say source="),
        (["source=x"], "say out="),
        (["source=x", "out=y", "mininum=3"], "unknown option"),
        (["source=.", "out=y", "size=96x112"], "size=96x112: must be 112x96 or 112x112"),
        (["source=x", "out=y", "min_images=0"], "min_images must be an integer >= 1"),
        (["source=x", "out=y", "workers=many"], "workers must be an integer >= 1"),
        (["source=x", "out=y", "max_corrupt=2"], "max_corrupt must be a share"),
        (["source=.", "out=y", "aligned=maybe"], "aligned must be true or false"),
        (["source=none", "out=y"], "source=none: not there"),
        (["source=.", "out=y", "detector=nonsense"], "write module:function"),
        (["nonsense"], "key=value"),
    ],
)
def test_a_wrong_option_is_one_line(script, given, part, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = script("prepare_faces", *given)
    assert said.code == 2 and part in said.err and said.err.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", [".", "/", "n" * 300])
def test_an_out_that_can_be_no_folder_is_one_line(script, source, out) -> None:
    said = script("prepare_faces", *options(source, out, "aligned=true"))
    assert said.code == 2 and said.err.count("error:") == 1 and f"{out}" in said.err


def test_corrupt_images_may_have_names_that_are_no_text(script, source, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("scripts._cli._fail", lambda error: 2)  # the capturing stderr, unlike a real one, is strict
    (source / "0000045" / os.fsdecode(b"a\xff.jpg")).write_bytes(b"x")
    said = script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true"))
    assert said.code == 2
    assert b"a\xff.jpg\t" in (tmp_path / "pack.part" / "corrupt.tsv").read_bytes()


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ([], "to align faces give landmarks=FILE or detector=module:function; aligned=true"),
        (["align=none"], "align must be one of umeyama, cp2tform, fixed"),
        (["aligned=true", "align=umeyama"], "no align="),
        (["aligned=true", "exclude=lfw17"], "neither a file nor one of"),
        (["aligned=true", "list=none.txt"], "none.txt: cannot be read"),
        (["landmarks=none.txt"], "none.txt: cannot be read"),
        (["align=fixed"], "cannot be aligned"),
    ],
)
def test_a_wrong_combination_is_one_line(script, source, tmp_path, given, part) -> None:
    said = script("prepare_faces", *options(source, tmp_path / "pack", *given))
    assert said.code == 2 and part in said.err and said.err.count("error:") == 1
    assert not (tmp_path / "pack").exists()


def test_help_says_what_it_is_for(script, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = script("prepare_faces", "-h").out
    assert "landmarks=" in said
    [folder] = [line.split("out=")[1] for line in said.splitlines() if "source=lfw " in line]
    with pytest.raises(UserError, match=f"nor {folder}/;.*/pairs.txt lists its pairs"):  # where a training looks
        read_test_pairs(Path("outputs/data"), "lfw", {})


# real images


@pytest.fixture
def lfw() -> Path:
    folder = Path(os.environ.get("LSOFTMAX_DATA", "")) / "lfw" / "images"
    if "LSOFTMAX_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("needs the real files: set LSOFTMAX_DATA to a folder that holds lfw")
    return folder


def test_real_faces_from_a_folder(script, lfw, tmp_path) -> None:
    people = sorted(path for path in lfw.iterdir() if path.name.startswith("B"))[:150]
    for person in people:
        shutil.copytree(person, tmp_path / "some" / person.name)
    said = script("prepare_faces", *options(tmp_path / "some", tmp_path / "pack", "aligned=true", "min_images=2"))
    assert said.code == 0, said.err
    pack = PackedFaces(tmp_path / "pack")
    sizes = [len(list(person.iterdir())) for person in people]
    assert len(pack) == sum(size for size in sizes if size > 1) and pack.num_classes == sum(size > 1 for size in sizes)
    for position in range(0, len(pack), 10):
        wanted = decode((lfw / pack.names[position]).read_bytes())
        assert np.array_equal(pack.images[position].transpose(1, 2, 0), wanted)
    assert json.loads((tmp_path / "pack" / "manifest.json").read_text())["mean_rgb"][0] > 100  # skin is red


def test_a_last_rename_that_fails_loses_nothing(script, source, tmp_path, monkeypatch) -> None:
    (tmp_path / "pack").symlink_to("not-there")
    said = script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true"))
    assert said.code == 2 and "cannot write" in said.err
    assert (tmp_path / "pack.part" / "plan.json").exists() and (tmp_path / "pack.part" / "parts.jsonl").exists()
    (tmp_path / "pack").unlink()
    assert script("prepare_faces", *options(source, tmp_path / "pack", "aligned=true")).code == 0
    assert sorted(path.name for path in (tmp_path / "pack").iterdir() if path.suffix in (".json", ".jsonl")) == [
        "manifest.json"
    ]
