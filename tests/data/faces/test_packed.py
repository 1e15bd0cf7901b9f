"""PackedFaces, and what training and testing must agree on."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from data.faces import Crop, PackedFaces, check_same_preparation
from lsoftmax.errors import UserError


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
