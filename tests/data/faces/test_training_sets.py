"""webface and lfw_dev: who is trained on, who is held out, and what is no set of faces."""

import itertools
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import data
from data import MappedSet, Splits
from data.faces import lfw_dev
from data.faces.crop import Crop
from data.faces.hold_out import pairs_of, take_people
from lsoftmax.errors import UserError

SIZES = [1, 2, 3, 4] * 12  # images of each person
PEOPLE, IMAGES = len(SIZES), sum(SIZES)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a pack whose images say in their first two pixels which image they are, and of whom."""
    folder = tmp_path / "webface"
    folder.mkdir()
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(PEOPLE), SIZES))
    images = np.random.default_rng(1).integers(0, 256, (IMAGES, 3, 112, 96), dtype=np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(IMAGES), labels
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    manifest = {"format": 1, "images": IMAGES, "identities": PEOPLE, "classes": [f"p{n}" for n in range(PEOPLE)]}
    (folder / "manifest.json").write_text(json.dumps({**manifest, **Crop().describe()}))
    return tmp_path


def load(root: Path, **options: object) -> Splits:
    return data.load("webface", root, **options)


def people_of(image_set: data.ImageSet) -> set[str]:
    return {image_set.class_names[label] for label in image_set.labels.tolist()}


def test_without_validation_everybody_is_trained_on(root: Path) -> None:
    splits = load(root)
    assert splits.train.num_classes == PEOPLE and len(people_of(splits.train)) == PEOPLE
    assert splits.val is None and splits.pairs == ()
    assert isinstance(splits.train, MappedSet)  # not read


@pytest.mark.parametrize("validation", [0, 20, 30])
def test_labels_belong_to_their_images(root: Path, validation: int) -> None:
    splits = load(root, validation=validation)
    for part in (splits.train, splits.test, *(pairs.images for pairs in splits.pairs)):
        assert [part.class_names[label] for label in part.labels] == [f"p{n}" for n in part.images[:, 0, 0, 1].tolist()]


@pytest.mark.parametrize(("asked", "count"), [(None, 4), (1, 1), (36, 36)])
def test_the_test_has_one_image_of_people_who_keep_another(root: Path, asked: int | None, count: int) -> None:
    splits = load(root, test_images=asked)
    train, test = splits.train, splits.test
    assert len(test) == count and len(set(test.labels.tolist())) == count  # 36 people have two images or more
    assert set(test.labels.tolist()) <= set(train.labels.tolist())
    images = torch.cat([train.images, test.images])[:, 0, 0, 0]
    assert sorted(images.tolist()) == list(range(IMAGES))


def test_a_smaller_test_lies_inside_a_larger_one(root: Path) -> None:
    small, large = (set(load(root, test_images=n).test.images[:, 0, 0, 0].tolist()) for n in (5, 20))
    assert small < large


def test_people_held_out_are_no_classes(root: Path) -> None:
    splits = load(root, validation=20)
    held_out = people_of(splits.held_out.images)
    assert len(held_out) == 20 and splits.train.num_classes == PEOPLE - 20
    assert not held_out & set(splits.train.class_names)
    assert people_of(splits.train) == set(splits.train.class_names)


def test_the_same_people_are_held_out_every_time(root: Path) -> None:
    assert load(root, validation=20).sha256() == load(root, validation=20).sha256()
    few, many = (set(load(root, validation=n).held_out.images.class_names) for n in (20, 30))
    assert few < many


def test_pairs_are_what_they_say_and_folds_share_nobody(root: Path) -> None:
    pairs = load(root, validation=23).held_out
    left, right = pairs.images.labels[pairs.left], pairs.images.labels[pairs.right]
    assert torch.equal(left == right, pairs.same) and (pairs.left != pairs.right).all()
    assert pairs.same.sum() * 2 == len(pairs.same)
    assert len({tuple(sorted(pair)) for pair in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)}) == len(
        left
    )
    who = [set(torch.cat([left, right])[pairs.folds.repeat(2) == fold].tolist()) for fold in range(10)]
    assert not any(one & other for one, other in itertools.combinations(who, 2))
    assert all(0 < pairs.same[pairs.folds == fold].float().mean() < 1 for fold in range(10))


def test_every_image_of_a_person_is_in_a_matched_pair(root: Path) -> None:
    pairs = load(root, validation=20).held_out
    assert set(pairs.left[pairs.same].tolist()) | set(pairs.right[pairs.same].tolist()) == set(range(len(pairs.images)))
    assert pairs_of(pairs.images, "x").left.tolist() == pairs.left.tolist()


def test_train_images_and_classes_make_a_reduced_problem(root: Path) -> None:
    splits = load(root, classes=10, train_images=12)
    assert (len(splits.train), splits.train.num_classes) == (12, 10)
    assert splits.train.class_names == tuple(f"p{n}" for n in range(10))


def test_the_folder_can_be_named(root: Path, tmp_path: Path) -> None:
    assert load(tmp_path / "elsewhere", folder=str(root / "webface")).sha256() == load(root).sha256()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_images": 37}, "dataset.test_images=37: 36 people have two images"),
        ({"validation": 19}, "dataset.validation=19: .* must be 20 or more"),
        ({"validation": 37}, r"dataset.validation=37: .* \(36 people do\)"),
        ({"train_images": 1000}, "dataset.train_images=1000: only 116"),
        ({"classes": 49}, "dataset.classes=49: the data set has 48 classes"),
        (
            {"folder": "/nowhere"},
            "/nowhere/manifest.json: cannot be read .*; scripts/prepare_faces.py makes such a set",
        ),
    ],
)
def test_what_cannot_be_is_refused(root: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(root, **options)


def test_two_people_are_left_to_train_on() -> None:
    names = tuple(f"p{n}" for n in range(22))
    people = data.ImageSet(torch.zeros(44, 3, 1, 1, dtype=torch.uint8), torch.arange(22).repeat(2), names)
    assert take_people(people, 20)[0].num_classes == 2
    with pytest.raises(UserError, match="dataset.validation=21: .* leave two people to train on"):
        take_people(people, 21)


@pytest.mark.parametrize("name", ["manifest.json", "images.npy", "labels.npy"])
def test_a_damaged_pack_is_one_line(root: Path, name: str) -> None:
    path = root / "webface" / name
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=re.escape(str(path)) + ".*prepare the set again") as error:
        load(root)
    assert "\n" not in str(error.value)


# lfw_dev


COUNTS = {"Ann_A": 3, "Bob_B": 2, "Cy": 1, "Di_D": 4, "Ed": 1}
DEV_TRAIN, DEV_TEST = "2\nAnn_A\t1\t2\nDi_D\t1\t4\nBob_B\t1\tCy\t1\nAnn_A\t3\tEd\t1\n", "1\nDi_D\t2\t3\nEd\t1\tCy\t1\n"


@pytest.fixture
def lfw(tmp_path: Path, face: Callable[..., bytes]) -> Path:
    folder = tmp_path / "lfw"
    for person, (name, count) in enumerate(COUNTS.items()):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(1, count + 1):
            path = folder / "images" / name / f"{name}_{number:04d}.png"
            path.write_bytes(face(10 * person + number, format="PNG"))
    people = "".join(f"{name}\t{count}\n" for name, count in COUNTS.items())
    (folder / "peopleDevTrain.txt").write_text(f"{len(COUNTS)}\n{people}")
    (folder / "pairsDevTrain.txt").write_text(DEV_TRAIN)
    (folder / "pairsDevTest.txt").write_text(DEV_TEST)
    return tmp_path


def test_people_with_two_images_are_trained_on(lfw: Path) -> None:
    splits = data.load("lfw_dev", lfw, test_images=2)
    assert splits.train.class_names == ("Ann_A", "Bob_B", "Di_D")
    assert (len(splits.train), len(splits.test)) == (7, 2)
    assert data.load("lfw_dev", lfw, min_images=3).train.class_names == ("Ann_A", "Di_D")


def test_people_with_a_single_image_can_be_trained_on_too(lfw: Path) -> None:
    splits = data.load("lfw_dev", lfw, min_images=1)
    assert splits.train.class_names == tuple(COUNTS) and len(splits.test) == 1


def test_images_that_are_no_cuts_of_the_face_are_said(lfw: Path, face: Callable[..., bytes]) -> None:
    assert data.load("lfw_dev", lfw).notes == ()
    for number in (1, 2):
        (lfw / "lfw" / "images" / "Ann_A" / f"Ann_A_{number:04d}.jpg").write_bytes(face(number, 250, 250))
    train, pairs = data.load("lfw_dev", lfw).notes
    assert train == "peopleDevTrain: 2 images: of another size than 112 x 96, scaled"
    assert re.fullmatch("pairsDevTest: [12] images: of another size than 112 x 96, scaled", pairs)


def test_the_people_of_the_test_are_read_with_all_their_images(lfw: Path, face: Callable[..., bytes]) -> None:
    (lfw / "lfw" / "peopleDevTest.txt").write_text("2\nCy\t1\nDi_D\t4\n")
    others, notes = lfw_dev.read_others(lfw)
    assert notes == ()
    assert others.class_names == ("Cy", "Di_D") and others.labels.tolist() == [0, 1, 1, 1, 1]
    expected = torch.tensor(Crop(align="none")(face(21, format="PNG"))).permute(2, 0, 1)
    assert torch.equal(others.images[0], expected)
    (lfw / "lfw" / "images" / "Cy" / "Cy_0001.png").write_bytes(face(21, 250, 250, format="PNG"))
    assert lfw_dev.read_others(lfw)[1] == ("peopleDevTest: 1 images: of another size than 112 x 96, scaled",)


def test_without_the_list_of_the_test_the_people_are_an_error(lfw: Path) -> None:
    with pytest.raises(UserError, match=r"peopleDevTest.txt: cannot be read \(No such file or directory\)"):
        lfw_dev.read_others(lfw)


def test_pairs_name_their_images(lfw: Path, face: Callable[..., bytes]) -> None:
    [pairs] = data.load("lfw_dev", lfw).verification
    assert (pairs.name, pairs.same.tolist(), pairs.tune[2].tolist()) == (
        "pairsDevTest",
        [True, False],
        [True, True, False, False],
    )
    crop = Crop(align="none")
    for row, seed in ((pairs.left[0], 32), (pairs.right[0], 33), (pairs.left[1], 41), (pairs.tune[1][2], 21)):
        expected = torch.tensor(crop(face(seed, format="PNG"))).permute(2, 0, 1)
        assert torch.equal(pairs.images.images[row], expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 5}, "dataset.validation=5: must be 0"),
        ({"min_images": 5}, "dataset.min_images=5: 0 of the 5 people"),
    ],
)
def test_what_lfw_cannot_be_is_refused(lfw: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        data.load("lfw_dev", lfw, **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2\nAnn_A\t3\n", "first line says '2' people, there are 1"),
        ("1\nAnn_A\n", "line 2: cannot read 'Ann_A'"),
        ("1\nAnn_A\tx\n", "line 2: cannot read"),
        ("1\nAnn_A\t0\n", "line 2: cannot read"),
        ("2\nAnn_A\t1\nAnn_A\t1\n", "line 3: cannot read"),
        ("2\nAnn_A\t3\nBob_B\t3\n", "Bob_B/Bob_B_0003"),
    ],
)
def test_a_wrong_list_is_one_line(lfw: Path, text: str, message: str) -> None:
    (lfw / "lfw" / "peopleDevTrain.txt").write_text(text)
    with pytest.raises(UserError, match=re.escape(message)):
        data.load("lfw_dev", lfw)


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="peopleDevTrain.txt: cannot be read .*; dataset=lfw_dev needs"):
        data.load("lfw_dev", tmp_path)


@pytest.mark.slow
def test_the_real_view_1_has_its_published_counts() -> None:
    root = Path(os.environ.get("LSOFTMAX_DATA", "nowhere"))
    if not (root / "lfw").is_dir():
        pytest.skip("needs LFW: set LSOFTMAX_DATA to a folder that holds it")
    splits = data.load("lfw_dev", root)
    [pairs] = splits.verification
    assert (splits.train.num_classes, len(splits.train) + len(splits.test)) == (1184, 6671)
    assert (len(pairs.same), int(pairs.same.sum()), len(pairs.tune[0]), len(pairs.images)) == (1000, 500, 2200, 4992)
