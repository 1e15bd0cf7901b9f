"""A network meets only faces prepared as those of its training: what verify.py and embed.py refuse, and say."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from data.faces import Crop
from data.faces.features import read_features

FACE = ["model=face_narrow", "model.width=0.0625"]
UMEYAMA, FIXED, ALIGNED = Crop().describe(), Crop(align="fixed").describe(), Crop(align="none").describe()
NAMES = [f"P{person}/P{person}_{number:04d}.png" for person in range(4) for number in range(1, 5)]


@pytest.fixture(scope="module")
def pixels():
    coarse = np.random.default_rng(0).integers(0, 256, (len(NAMES), 3, 4, 4), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 28, axis=2), 24, axis=3)


@pytest.fixture
def images(tmp_path, pixels):
    """The folder of the images."""
    for name, image in zip(NAMES, pixels, strict=True):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(path)
    return tmp_path / "images"


@pytest.fixture
def pairs(tmp_path):
    same = [f"P{person}\t{a}\t{a + 1}" for person in range(4) for a in (1, 3)]
    other = [f"P{person}\t{a}\tP{(person + 1) % 4}\t{a}" for person in range(4) for a in (1, 3)]
    path = tmp_path / "pairs.txt"
    path.write_text("\n".join(line for both in zip(same, other, strict=True) for line in both) + "\n")
    return path


@pytest.fixture
def pack(tmp_path, pixels):
    """pack(made) -> the folder of a pack of the same images that says it was made so."""

    def make(made, shown=pixels):
        folder = tmp_path / "pack"
        folder.mkdir()
        np.save(folder / "images.npy", shown)
        np.save(folder / "labels.npy", np.repeat(np.arange(4), 4))
        (folder / "names.txt").write_text("\n".join(NAMES) + "\n")
        head = {"format": 1, "images": len(NAMES), "identities": 4, "classes": ["P0", "P1", "P2", "P3"]}
        (folder / "manifest.json").write_text(json.dumps(head | made))
        return folder

    return make


@pytest.fixture
def trained(run_of):
    """trained(made) -> a run on faces that were made so; of an older run nothing is known."""

    def make(made):
        metadata = {} if made is None else {"preparation": made}
        return run_of((3, 112, 96), torch.full((3, 1, 1), 127.5), *FACE, metadata=metadata)

    return make


def verified(script, run, images, pairs, *options):
    return script("verify", f"run={run}", f"images={images}", f"pairs={pairs}", "folds=4", *options)


def test_a_pack_gives_what_its_images_give(script, trained, pack, images, pairs, tmp_path):
    run = trained(ALIGNED)
    one = verified(script, run, images, pairs, f"out={tmp_path / 'a'}")
    two = verified(script, run, pack(ALIGNED), pairs, f"out={tmp_path / 'b'}")
    assert (one.code, two.code, one.err, two.err) == (0, 0, "", "")
    a, b = (json.loads((tmp_path / name / "verification.json").read_text()) for name in "ab")
    assert all(a[key] == b[key] for key in a if key != "options")
    pictures = [np.asarray(Image.open(tmp_path / name / "worst_pairs.png")) for name in "ab"]
    assert (pictures[0] == pictures[1]).all()


def test_embeddings_of_a_pack_are_those_of_its_images(script, trained, pack, images, tmp_path):
    run = trained(ALIGNED)
    said = [
        script("embed", f"run={run}", f"images={where}", f"out={tmp_path / name}")
        for name, where in (("a.npz", images), ("b.npz", pack(ALIGNED)))
    ]
    assert [(s.code, s.err) for s in said] == [(0, "")] * 2
    a, b = (read_features(tmp_path / name) for name in ("a.npz", "b.npz"))
    assert a.names == b.names and (a.values == b.values).all()
    assert a.ids == b.ids == tuple(f"P{person}" for person in range(4) for _ in range(4))


@pytest.mark.parametrize("script_name", ["verify", "embed"])
@pytest.mark.parametrize(
    ("before", "now", "part"),
    [
        (UMEYAMA, Crop(align="cp2tform").describe(), "alignment umeyama/SphereFace in training, cp2tform/SphereFace"),
        (FIXED, UMEYAMA, "alignment fixed/SphereFace in training, umeyama/SphereFace here"),
        (Crop((112, 112)).describe(), UMEYAMA, "size [112, 112] in training, [112, 96] here"),
        (UMEYAMA | {"colour": "BGR"}, UMEYAMA, "colour BGR in training, RGB here"),
    ],
)
def test_a_pack_made_in_another_way_is_one_line(script, trained, pack, pairs, tmp_path, script_name, before, now, part):
    rest = [f"pairs={pairs}"] if script_name == "verify" else [f"out={tmp_path / 'e.npz'}"]
    said = script(script_name, f"run={trained(before)}", f"images={pack(now)}", *rest)
    assert said.code == 2 and part in said.err and said.err.count("\n") == 1
    assert "were prepared in another way than those of the training" in said.err


@pytest.mark.parametrize("script_name", ["verify", "embed"])
def test_one_cut_for_all_does_not_go_with_landmarks(script, trained, images, pairs, tmp_path, script_name):
    rest = [f"pairs={pairs}"] if script_name == "verify" else [f"out={tmp_path / 'e.npz'}"]
    said = script(script_name, f"run={trained(UMEYAMA)}", f"images={images}", "align=fixed", *rest)
    assert said.code == 2 and "umeyama/SphereFace in training, fixed/SphereFace here" in said.err


@pytest.mark.parametrize("script_name", ["verify", "embed"])
def test_images_aligned_elsewhere_are_taken_with_a_warning(script, trained, images, pairs, tmp_path, script_name):
    rest = [f"pairs={pairs}", "folds=4"] if script_name == "verify" else [f"out={tmp_path / 'e.npz'}"]
    said = script(script_name, f"run={trained(UMEYAMA)}", f"images={images}", *rest)
    assert said.code == 0 and said.err.count("\n") == 1
    assert "warning: alignment umeyama/SphereFace in training, none/none here: make sure that they agree" in said.err


def test_of_an_older_run_nothing_is_known_and_nothing_said(script, trained, images, pairs):
    said = verified(script, trained(None), images, pairs)
    assert (said.code, said.err) == (0, "")


def test_an_older_run_still_needs_faces_of_its_size(script, trained, pack, pairs, pixels):
    wide = np.pad(pixels, ((0, 0), (0, 0), (0, 0), (8, 8)))
    folder = pack(Crop((112, 112)).describe(), wide)
    said = verified(script, trained(None), folder, pairs)
    assert said.code == 2 and "112 x 112, the run's network takes 112 x 96" in said.err


def test_pairs_of_images_that_the_pack_lacks_are_listed(script, trained, pack, pairs):
    pairs.write_text("P0\t1\t2\nP0\t1\tNobody\t3\n")
    said = verified(script, trained(UMEYAMA), pack(UMEYAMA), pairs)
    assert said.code == 2 and "1 of 3 images are not in" in said.err and "Nobody/Nobody_0003" in said.err


@pytest.mark.parametrize(
    ("name", "option"), [("verify", "align=none"), ("embed", "align=fixed"), ("embed", "resize=true")]
)
def test_a_pack_is_neither_aligned_nor_scaled_again(script, trained, pack, pairs, tmp_path, name, option):
    rest = [f"pairs={pairs}"] if name == "verify" else [f"out={tmp_path / 'e.npz'}"]
    said = script(name, f"run={trained(UMEYAMA)}", f"images={pack(UMEYAMA)}", option, *rest)
    assert said.code == 2 and said.err.startswith(f"error: {option}: ") and said.err.count("\n") == 1


def test_damaged_metadata_are_one_line(script, trained, images, pairs):
    said = verified(script, trained({"size": [112, 96]}), images, pairs)
    assert said.code == 2 and "do not say how the faces were prepared" in said.err
