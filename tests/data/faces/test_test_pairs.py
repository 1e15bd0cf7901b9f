"""dataset.verify: what a finished network is verified on, from a pack with its pairs or from a .bin file."""

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import data
from data.faces import Crop
from lsoftmax.errors import UserError

PEOPLE, EACH = 24, 3
NAMES = [f"P{person:02d}/P{person:02d}_{number:04d}.jpg" for person in range(PEOPLE) for number in range(1, EACH + 1)]
MADE = Crop().describe()
PAIRS = [(f"P{k:02d}\t1\t2", True) for k in range(20)] + [(f"P{k:02d}\t1\tP{k + 1:02d}\t3", False) for k in range(20)]
MIXED = [pair for both in zip(PAIRS[:20], PAIRS[20:], strict=True) for pair in both]


def write_pack(folder: Path, made: dict = MADE) -> np.ndarray:
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (len(NAMES), 3, *made["size"]), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", np.repeat(np.arange(PEOPLE), EACH))
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n")
    head = {"format": 1, "images": len(NAMES), "identities": PEOPLE, "classes": [f"P{k:02d}" for k in range(PEOPLE)]}
    (folder / "manifest.json").write_text(json.dumps(head | made))
    return images


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_pack(tmp_path / "webface")
    return tmp_path


@pytest.fixture
def packed(root: Path) -> np.ndarray:
    """The images of lfw_packed/."""
    images = write_pack(root / "lfw_packed")
    (root / "lfw_packed" / "pairs.txt").write_text("\n".join(line for line, _ in MIXED))
    return images


def test_without_any_there_are_none(root: Path) -> None:
    splits = data.load("webface", root)
    assert splits.verification == () and splits.notes == ()


def test_a_pack_and_its_pairs(root: Path, packed: np.ndarray) -> None:
    splits = data.load("webface", root, verify=["lfw"])
    [pairs] = splits.verification
    assert (pairs.name, pairs.same.tolist(), splits.notes) == ("lfw", [same for _, same in MIXED], ())
    assert torch.equal(pairs.folds, torch.arange(10).repeat_interleave(4))
    for k, (left, right) in {0: (0, 1), 1: (0, 5), 2: (3, 4), 39: (57, 62)}.items():
        for rows, expected in ((pairs.left, left), (pairs.right, right)):
            assert torch.equal(pairs.images.gather(rows[k : k + 1])[0], torch.from_numpy(packed[expected]))


def test_pairs_in_order_of_their_kind_are_dealt_and_it_is_said(root: Path, packed: np.ndarray) -> None:
    (root / "lfw_packed" / "pairs.txt").write_text("\n".join(line for line, _ in PAIRS))
    splits = data.load("webface", root, verify=["lfw"])
    assert len(splits.notes) == 1 and splits.notes[0].startswith("lfw: a contiguous fold is not 40 to 60 % matched")
    [pairs] = splits.verification
    assert all(pairs.same[pairs.folds == fold].float().mean() == 0.5 for fold in range(10))


def test_a_bin_pack(root: Path, face: Callable[..., bytes]) -> None:
    encoded = [face(seed, format="PNG") for seed in range(40)]
    (root / "cfp_fp.bin").write_bytes(pickle.dumps((encoded, [k % 2 == 0 for k in range(20)])))
    splits = data.load("webface", root, verify=["cfp_fp"])
    [pairs] = splits.verification
    assert pairs.left.tolist() == list(range(0, 40, 2)) and pairs.right.tolist() == list(range(1, 40, 2))
    assert pairs.same.tolist() == [True, False] * 10 and pairs.images.image_shape == (3, 112, 96)
    expected = Crop(align="none")(encoded[7]).transpose(2, 0, 1)
    assert (pairs.images.images[7].numpy() == expected).all()
    assert splits.notes == (
        "cfp_fp: alignment umeyama/SphereFace in training, none/none here: make sure that they agree",
    )


def test_images_of_a_bin_pack_that_are_scaled_are_remarked(root: Path, face: Callable[..., bytes]) -> None:
    encoded = [face(seed, 95, 95, format="PNG") for seed in range(40)]
    (root / "x.bin").write_bytes(pickle.dumps((encoded, [k % 2 == 0 for k in range(20)])))
    assert "x: 40 images: of another size than 112 x 96, scaled" in data.load("webface", root, verify=["x"]).notes


def test_folds_of_one_kind_are_an_error_before_training(root: Path, packed: np.ndarray) -> None:
    lines = ["2\t1", "P00\t1\t2", "P01\t1\t2", "P00\t1\tP01\t3", "P02\t1\tP03\t3"]
    (root / "lfw_packed" / "pairs.txt").write_text("\n".join([lines[0], lines[1], lines[2], lines[3], lines[4]]))
    with pytest.raises(UserError, match=r"^dataset.verify=lfw: .*fold"):
        data.load("webface", root, verify=["lfw"])


def test_several_sets_in_their_order_behind_the_people_held_out(root: Path, packed: np.ndarray) -> None:
    (root / "b_packed").symlink_to(root / "lfw_packed")
    splits = data.load("webface", root, verify=["lfw", "b"], validation=20)
    assert [pairs.name for pairs in splits.pairs] == ["held_out", "lfw", "b"]


def test_the_digest_of_the_data_knows_the_pairs(root: Path, packed: np.ndarray) -> None:
    without, first = data.load("webface", root).sha256(), data.load("webface", root, verify=["lfw"]).sha256()
    lines = (root / "lfw_packed" / "pairs.txt").read_text().splitlines()
    (root / "lfw_packed" / "pairs.txt").write_text("\n".join([*lines[2:], *lines[:2]]))
    assert len({without, first, data.load("webface", root, verify=["lfw"]).sha256()}) == 3


def test_the_digest_of_the_data_knows_which_pairs_are_of_one_person(root: Path, packed: np.ndarray) -> None:
    splits = data.load("webface", root, verify=["lfw"])
    before = splits.sha256()
    splits.verification[0].same[0] ^= True
    assert splits.sha256() != before


@pytest.mark.parametrize("align", ["cp2tform", "fixed"])
def test_faces_aligned_in_another_way_are_refused_before_training(root: Path, align: str) -> None:
    write_pack(root / "lfw_packed", Crop(align=align).describe())  # type: ignore[arg-type]
    (root / "lfw_packed" / "pairs.txt").write_text("\n".join(line for line, _ in MIXED))
    wanted = f"dataset.verify=lfw: these faces were prepared in another way .* umeyama/SphereFace in training, {align}"
    with pytest.raises(UserError, match=wanted):
        data.load("webface", root, verify=["lfw"])


def test_a_missing_set_is_one_line(root: Path) -> None:
    (root / "lfw").mkdir()  # the raw images are no set
    with pytest.raises(
        UserError, match=re.escape(f"dataset.verify=lfw: there is neither {root}/lfw.bin nor ")
    ) as error:
        data.load("webface", root, verify=["lfw"])
    assert "\n" not in str(error.value) and "prepare_faces.py" in str(error.value)


def test_missing_pairs_and_missing_images_are_named(root: Path, packed: np.ndarray) -> None:
    (root / "lfw_packed" / "pairs.txt").write_text("P00\t1\t2\nP00\t1\tNobody\t1\n")
    with pytest.raises(UserError, match=r"1 of 3 images are not in .*lfw_packed: Nobody/Nobody_0001"):
        data.load("webface", root, verify=["lfw"])
    (root / "lfw_packed" / "pairs.txt").unlink()
    with pytest.raises(UserError, match=r"cannot read the pairs file .*pairs.txt"):
        data.load("webface", root, verify=["lfw"])


def test_a_broken_image_of_a_bin_pack_is_named(root: Path, face: Callable[..., bytes]) -> None:
    encoded = [face(seed, format="PNG") for seed in range(40)]
    encoded[3] = encoded[3][:200]
    (root / "x.bin").write_bytes(pickle.dumps((encoded, [k % 2 == 0 for k in range(20)])))
    with pytest.raises(UserError, match=r"x.bin, image 3: "):
        data.load("webface", root, verify=["x"])
