"""scripts/verify.py end to end: embeddings, packs, a run on images; and what it refuses."""

import io
import json
import os
import pickle
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import models
from configs.settings import compose, to_yaml
from lsoftmax import losses
from lsoftmax.engine.weights import save_weights
from lsoftmax.metrics import verify_at, verify_embeddings
from scripts import _pair_source
from scripts import verify as module


def encoded(seed, person):
    """A smooth picture: people differ in their colours, pictures in their noise."""
    colours = np.random.default_rng(person).integers(0, 256, (4, 4, 3))
    noise = np.random.default_rng(1000 + seed).integers(-20, 21, (4, 4, 3))
    file = io.BytesIO()
    Image.fromarray((colours + noise).clip(0, 255).astype(np.uint8)).resize((96, 112), 2).save(file, "PNG")
    return file.getvalue()


PEOPLE = 8
SAME = [k % 2 == 0 for k in range(40)]


def who(pair):
    """The two people of a pair."""
    first = pair % PEOPLE
    return (first, first) if SAME[pair] else (first, (first + 1 + pair % 5) % PEOPLE)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """images/P/P_000i.png, pairs.txt of LFW's form with four folds, and the same as a pack."""
    folder = tmp_path_factory.mktemp("faces")
    lines, pack = ["4\t5"], []
    for pair in range(40):
        people = who(pair)
        for side, person in enumerate(people):
            path = folder / "images" / f"P{person}" / f"P{person}_{2 * pair + side + 1:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(2 * pair + side, person))
            pack.append(path.read_bytes())
        numbers = [str(2 * pair + 1), str(2 * pair + 2)]
        names = [f"P{person}" for person in people]
        lines.append("\t".join([names[0], *numbers] if SAME[pair] else [names[0], numbers[0], names[1], numbers[1]]))
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")
    (folder / "faces.bin").write_bytes(pickle.dumps((pack, SAME)))
    return folder


@pytest.fixture(scope="module")
def face_run(tmp_path_factory):
    """The folder of a run whose network has seen nothing."""
    run = tmp_path_factory.mktemp("run")
    options = ["dataset=synthetic", "model=face_narrow", "model.width=0.0625", "trainer.eval_batch_size=32"]
    settings = compose([*options, "device=cpu"])
    torch.manual_seed(0)
    backbone = models.build(image_shape=(3, 112, 96), **asdict(settings.model))
    criterion = losses.create("softmax", backbone.feature_size, 4)
    save_weights(run / "model.safetensors", backbone, criterion, torch.full((3, 1, 1), 127.5), {})
    (run / "config.yaml").write_text(to_yaml(settings))
    return run


@pytest.fixture
def stored(tmp_path):
    """embeddings of the pairs in their order, (80, 5)."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(PEOPLE, 5))
    values = np.stack([centres[person] + rng.normal(size=5) for pair in range(40) for person in who(pair)])
    np.save(tmp_path / "stored.npy", values)
    return tmp_path / "stored.npy"


def numbers(folder):
    return json.loads((folder / "verification.json").read_text())


def test_embeddings_in_the_order_of_the_pairs(script, faces, stored, tmp_path):
    said = script("verify", f"embeddings={stored}", f"pairs={faces / 'pairs.txt'}", f"out={tmp_path / 'out'}")
    values = np.load(stored)
    expected = verify_embeddings(values[::2], values[1::2], SAME, folds=np.arange(40) // 10)
    assert said.code == 0 and f"accuracy {100 * expected.accuracy:.2f} % +- " in said.out
    found = numbers(tmp_path / "out")
    assert found["accuracy"] == expected.accuracy and found["standard_error"] == expected.standard_error
    assert found["thresholds"] == list(expected.thresholds) and found["eer"] == expected.eer
    assert found["wrong_pairs"] == (~expected.correct).nonzero().flatten().tolist()
    assert found["tar_at_far"][0]["far"] == 0.1 and found["pairs"] == 40 and found["matched"] == 20


def test_named_embeddings_in_another_order_give_the_same(script, faces, stored, tmp_path):
    names = [f"P{who(k // 2)[k % 2]}/P{who(k // 2)[k % 2]}_{k + 1:04d}" + ".jpg" * (k % 2) for k in range(80)]
    order = np.random.default_rng(0).permutation(80)
    np.savez(tmp_path / "n.npz", embeddings=np.load(stored)[order], names=np.array(names)[order])
    one = script("verify", f"embeddings={stored}", f"pairs={faces / 'pairs.txt'}")
    other = script("verify", f"embeddings={tmp_path / 'n.npz'}", f"pairs={faces / 'pairs.txt'}")
    assert one == other and one.code == 0


@pytest.mark.parametrize("options", [["center=true"], ["pca=3"], ["center=true", "pca=2", "far=0.2"]])
def test_center_and_pca(script, faces, stored, options, tmp_path):
    script("verify", f"embeddings={stored}", f"pairs={faces / 'pairs.txt'}", *options, f"out={tmp_path}")
    values = np.load(stored)
    chosen = {"center": "center=true" in options, "pca": next((int(o[4:]) for o in options if o[:3] == "pca"), 0)}
    expected = verify_embeddings(values[::2], values[1::2], SAME, folds=np.arange(40) // 10, **chosen)
    assert numbers(tmp_path)["accuracy"] == expected.accuracy


def test_a_run_on_images_and_on_the_pack_of_the_same_images(script, faces, face_run, tmp_path):
    images = [f"images={faces / 'images'}", f"pairs={faces / 'pairs.txt'}"]
    one = script("verify", f"run={face_run}", *images, f"out={tmp_path / 'a'}")
    other = script("verify", f"run={face_run}", f"pack={faces / 'faces.bin'}", "folds=4", f"out={tmp_path / 'b'}")
    assert (one.code, other.code) == (0, 0), one.err + other.err
    assert numbers(tmp_path / "a")["accuracy"] > 0.8  # people differ in colour: an untrained network sees that
    for key in ("accuracy", "auc", "eer", "thresholds", "wrong_pairs"):
        assert numbers(tmp_path / "a")[key] == pytest.approx(numbers(tmp_path / "b")[key])


def test_what_is_written_are_pictures(script, faces, face_run, tmp_path):
    script("verify", f"run={face_run}", f"pack={faces / 'faces.bin'}", "folds=4", f"out={tmp_path / 'new' / 'out'}")
    written = {path.name for path in (tmp_path / "new" / "out").iterdir()}
    assert written == {"verification.json", "roc.png", "roc.svg", "worst_pairs.png"}
    sheet = Image.open(tmp_path / "new" / "out" / "worst_pairs.png").convert("RGB")
    assert sheet.height > 10 * 112 and len(sheet.getcolors(1 << 20)) > 1000
    assert "<svg" in (tmp_path / "new" / "out" / "roc.svg").read_text()


@pytest.mark.parametrize("mirror", ["sum", "concat"])
def test_mirror_features(script, faces, face_run, mirror, tmp_path, monkeypatch):
    from scripts._embed import Embedder

    contents = [encoded(0, 0), encoded(1, 1)]
    plain = Embedder(face_run, [], mirror="none", align="none")
    both = Embedder(face_run, [], mirror=mirror, align="none")
    flipped = [io.BytesIO() for _ in contents]
    for content, file in zip(contents, flipped, strict=True):
        Image.open(io.BytesIO(content)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(file, "PNG")

    def embed(embedder, images):
        return embedder(2, images.__getitem__, str)

    straight, mirrored = embed(plain, contents), embed(plain, [file.getvalue() for file in flipped])
    expected = straight + mirrored if mirror == "sum" else torch.cat([straight, mirrored], dim=1)
    torch.testing.assert_close(embed(both, contents), expected)


def test_a_threshold_chosen_on_other_pairs(script, faces, face_run, tmp_path):
    lines = (faces / "pairs.txt").read_text().splitlines()[1:]
    (tmp_path / "tune.txt").write_text("\n".join(lines[:20]))
    (tmp_path / "test.txt").write_text("\n".join(lines[20:]))
    options = [f"run={face_run}", f"images={faces / 'images'}", f"pairs={tmp_path / 'test.txt'}"]
    said = script("verify", *options, f"tune={tmp_path / 'tune.txt'}", "far=0.2", f"out={tmp_path / 'out'}")
    assert said.code == 0 and "threshold from tune=" in said.out and "at FAR 20 %" in said.out
    found = numbers(tmp_path / "out")
    assert found["pairs"] == 20 and len(found["thresholds"]) == 1 and found["std"] is None


@pytest.mark.parametrize("dataset", ["lfw_dev", "webface"])
def test_people_of_view_2_that_lfw_dev_was_trained_on_are_said(script, faces, run_of, tmp_path, dataset):
    mean = torch.full((3, 1, 1), 127.5)
    run = run_of((3, 112, 96), mean, f"dataset={dataset}", "model=face_narrow", "model.width=0.0625")
    (tmp_path / "lfw.bin").write_bytes((faces / "faces.bin").read_bytes())
    (tmp_path / "dev.txt").write_text("\n".join(["20", *(faces / "pairs.txt").read_text().splitlines()[1:]]))
    images = f"images={faces / 'images'}"
    view2 = [[images, f"pairs={faces / 'pairs.txt'}"], [f"pack={tmp_path / 'lfw.bin'}", "folds=4"]]
    others = [[images, f"pairs={tmp_path / 'dev.txt'}"], [f"pack={faces / 'faces.bin'}", "folds=4"]]
    for options in view2 + others:
        said = script("verify", f"run={run}", *options)
        lines = [line for line in said.err.splitlines() if "2,985 of View 2's 4,281 people" in line]
        assert said.code == 0, said.err
        assert len(lines) == (dataset == "lfw_dev" and options in view2) and all(
            "says nothing" in line for line in lines
        )


def test_missing_images_are_listed(script, faces, face_run, tmp_path):
    (tmp_path / "pairs.txt").write_text("P0\t1\t2\nP0\t1\tNobody\t3\n")
    said = script("verify", f"run={face_run}", f"images={faces / 'images'}", f"pairs={tmp_path / 'pairs.txt'}")
    assert said.code == 2 and "1 of 3 images are not in" in said.err and "Nobody/Nobody_0003" in said.err


def test_missing_embeddings_are_listed(script, faces, tmp_path):
    np.savez(tmp_path / "n.npz", **{"P0/P0_0001": np.ones(3), "P0/P0_0002": np.ones(3)})
    said = script("verify", f"embeddings={tmp_path / 'n.npz'}", f"pairs={faces / 'pairs.txt'}")
    assert said.code == 2 and "has no embeddings for 78 images" in said.err and said.err.count("\n") == 1


def test_a_name_of_two_embeddings_is_one_line(script, faces, stored, tmp_path):
    names = [f"P{who(k // 2)[k % 2]}/P{who(k // 2)[k % 2]}_{k + 1:04d}.jpg" for k in range(80)]
    np.savez(tmp_path / "n.npz", embeddings=np.load(stored), names=[*names[:-1], names[0].replace(".jpg", ".png")])
    said = script("verify", f"embeddings={tmp_path / 'n.npz'}", f"pairs={faces / 'pairs.txt'}")
    assert said.code == 2 and "(row 0) or " in said.err and "(row 79)" in said.err and said.err.count("\n") == 1


def test_an_image_that_is_none_is_named(script, faces, face_run, tmp_path):
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "A_0001.jpg").write_bytes(encoded(0, 0)[:200])
    (tmp_path / "A" / "A_0002.jpg").write_bytes(encoded(0, 0))
    (tmp_path / "pairs.txt").write_text("A\t1\t2\n")
    said = script("verify", f"run={face_run}", f"images={tmp_path}", f"pairs={tmp_path / 'pairs.txt'}")
    assert said.code == 2 and "A_0001.jpg" in said.err and said.err.count("\n") == 1


def test_pairs_sorted_by_kind_are_dealt_and_it_says_so(script, stored, tmp_path):
    order = np.argsort(np.logical_not(SAME), kind="stable")
    values = np.load(stored).reshape(40, 2, 5)[order].reshape(80, 5)
    np.save(tmp_path / "sorted.npy", values)
    (tmp_path / "pairs.csv").write_text("".join(f"a{k},b{k},{int(k < 20)}\n" for k in range(40)))
    said = script("verify", f"embeddings={tmp_path / 'sorted.npy'}", f"pairs={tmp_path / 'pairs.csv'}", "folds=4")
    assert said.code == 0 and "warning: a contiguous fold is not 40 to 60 % matched" in said.err
    assert "over 4 folds" in said.out


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ([], "run=FOLDER or embeddings=FILE"),
        (["run=a", "embeddings=b"], "run=FOLDER or embeddings=FILE"),
        (["run=a"], "pairs=FILE or pack=FILE"),
        (["run=a", "pairs=b", "pack=c"], "pairs=FILE or pack=FILE"),
        (["run=a", "pairs=b"], "images=FOLDER"),
        (["run=a", "pack=c", "tune=d"], "go with pairs="),
        (["embeddings=a", "pairs=b", "mirror=sum"], "goes with run="),
        (["embeddings=a", "pairs=b", "device=cpu"], "nothing to configure"),
        (["embeddings=nowhere.npy", "pairs=nowhere.txt"], "nowhere.txt"),
        (["embeddings=a", "pairs=b", "tune=c", "folds=5"], "folds= has no effect with tune="),
        (["embeddings=a", "pairs=b", "out="], "out= names no folder"),
        (["embeddings=a", "pairs=b", "folds=1"], "folds must be an integer >= 2, got '1'"),
        (["embeddings=a", "pairs=b", "pca=x"], "pca must be an integer"),
        (["embeddings=a", "pairs=b", "center=yes"], "center must be true or false"),
        (["embeddings=a", "pairs=b", "far=0.1,2"], "far must be rates"),
        (["embeddings=a", "pairs=b", "tune=c", "pca=2"], "do not go with tune="),
        (["run=nowhere", "pack=nowhere.bin"], "nowhere.bin"),
        (["nonsense"], "key=value"),
    ],
)
def test_a_wrong_option_is_one_line(script, options, part):
    said = script("verify", *options)
    assert said.code == 2 and part in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["mirror=both"], "mirror must be one of none, sum, concat"),
        (["align=umeyama"], "align must be none"),
        (["dataset=mnist"], "has its own dataset"),
    ],
)
def test_a_wrong_option_of_the_embedding_is_one_line(script, faces, face_run, options, part):
    said = script("verify", f"run={face_run}", f"pack={faces / 'faces.bin'}", *options)
    assert said.code == 2 and part in said.err and said.err.count("\n") == 1


def test_a_run_for_other_images_is_refused(script, faces, finished):
    said = script("verify", f"run={finished}", f"pack={faces / 'faces.bin'}")
    assert said.code == 2 and "1 channel" in said.err and said.err.count("\n") == 1


def test_embeddings_that_do_not_count_are_refused(script, faces, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((79, 4)))
    said = script("verify", f"embeddings={tmp_path / 'x.npy'}", f"pairs={faces / 'pairs.txt'}")
    assert said.code == 2 and "79 embeddings for 40 pairs" in said.err


def test_a_row_that_is_not_finite_is_one_line(script, faces, tmp_path):
    values = np.ones((80, 4))
    values[6] = np.nan
    np.save(tmp_path / "x.npy", values)
    said = script("verify", f"embeddings={tmp_path / 'x.npy'}", f"pairs={faces / 'pairs.txt'}")
    assert said.code == 2 and "row 3 of left is not finite" in said.err and said.err.count("\n") == 1


def test_an_image_of_the_picture_that_is_none_is_named(script, faces, tmp_path):
    pack, same = pickle.loads((faces / "faces.bin").read_bytes())
    (tmp_path / "damaged.bin").write_bytes(pickle.dumps(([*pack[:7], pack[7][:60], *pack[8:]], same)))
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(80, 4)))
    options = [f"embeddings={tmp_path / 'x.npy'}", f"pack={tmp_path / 'damaged.bin'}", f"out={tmp_path / 'out'}"]
    said = script("verify", *options, "folds=4")
    assert said.code == 2 and "error: image 7: " in said.err and said.err.count("error") == 1


def test_real_faces(script, face_run, tmp_path):
    lfw = Path(os.environ.get("LSOFTMAX_DATA", "outputs/data")) / "lfw"
    if not (lfw / "images").is_dir():
        pytest.skip("LFW is not here")
    lines = (lfw / "pairsDevTest.txt").read_text().splitlines()[1:]
    (tmp_path / "pairs.txt").write_text("\n".join(lines[:20] + lines[500:520]))
    options = [f"run={face_run}", f"images={lfw / 'images'}", f"pairs={tmp_path / 'pairs.txt'}", "folds=4"]
    said = script("verify", *options, f"out={tmp_path / 'out'}")
    assert said.code == 0 and (tmp_path / "out" / "worst_pairs.png").exists()


def test_a_pack_takes_no_images_beside_its_own(script):
    said = script("verify", "run=a", "pack=b.bin", "images=c")
    assert said.code == 2 and "pack=FILE holds its images and pairs" in said.err


def test_a_picture_has_the_images_of_a_pair_left_and_right(faces, stored):
    own = {"embeddings": str(stored), "pairs": str(faces / "pairs.txt"), "images": str(faces / "images")}
    source = _pair_source.open_source(own, [])
    assert [source.name(k) for k in (2, 3)] == ["P1/P1_0003", f"P{who(1)[1]}/P{who(1)[1]}_0004"]
    assert [source.content(k) for k in (2, 3)] == [encoded(2, who(1)[0]), encoded(3, who(1)[1])]


def test_a_rate_is_said_in_percent_and_beside_the_number_of_impostors():
    scores, same = torch.linspace(1, -1, 30), torch.tensor([True] * 20 + [False] * 10)
    said = module._report(verify_at(scores, same, 0.0, far=(0.1, 0.01)), same.tolist(), tuned=True)
    assert "at FAR 10 % (realised 10 %)" in said and "at FAR 1 % (none accepted: FAR < 1/10)" in said


def test_help_says_what_it_is_for(script):
    said = script("verify", "--help")
    assert said.code == 0 and "pairs=" in said.out and "tune=" in said.out
