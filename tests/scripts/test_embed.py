"""scripts/embed.py: a folder of images in, names and embeddings out, as scripts/verify.py reads them."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import models
from configs.settings import from_file
from data.faces.features import read_features
from lsoftmax.engine.weights import load_into

DIGITS = ["a/1.png", "a/2.PNG", "b/c/10.bmp", "b/c/9.png", "z.png"]  # in the order of the names
FACE = ["model=face_narrow", "model.width=0.0625", "dataset.scale=128"]


def pixels_of(names, shape=(28, 28), seed=0):
    """Smooth pictures: resizing them is not a matter of single pixels."""
    coarse = np.random.default_rng(seed).integers(0, 256, (len(names), 4, 4, *shape[2:]), dtype=np.uint8)
    return [np.asarray(Image.fromarray(image).resize(shape[1::-1], Image.Resampling.BILINEAR)) for image in coarse]


def save(folder, names, pictures):
    for name, pixels in zip(names, pictures, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
    return folder


def embedded(run, images, mirrored=False):
    """(N, D) by the definition: the network of the run's configuration on (pixel - mean) / scale, or its mirror."""
    settings, path = from_file(run / "config.yaml"), run / "model.safetensors"
    tensors = load_file(path)
    backbone = models.build(image_shape=images.shape[1:], **asdict(settings.model))
    load_into(backbone, tensors, "backbone", path)
    pixels = (images.float() - tensors["input.mean"]) / settings.dataset.scale
    with torch.no_grad():
        return backbone.eval()(pixels.flip(3) if mirrored else pixels)


def assert_close(found, expected, share=1e-4):
    """As shares of the largest value."""
    close = share * expected.abs().max().item()
    torch.testing.assert_close(torch.as_tensor(found), expected, rtol=0, atol=close)


@pytest.fixture
def digits(tmp_path):
    return save(tmp_path / "images", DIGITS, pixels_of(DIGITS))


@pytest.fixture
def colour_run(run_of):
    """For 32 x 32 pixels and three channels."""
    return run_of((3, 32, 32), torch.full((3, 32, 32), 100.0), "model=cifar10", "model.width=0.0625")


def embed(script, run, images, out, *options):
    said = script("embed", f"run={run}", f"images={images}", f"out={out}", *options)
    assert said.code == 0, said.err
    return said, read_features(out)


def test_names_and_embeddings_of_grey_images(script, finished, digits, tmp_path):
    said, found = embed(script, finished, digits, tmp_path / "new" / "e.npz")
    assert list(found.names) == DIGITS and "5 embeddings of" in said.out and said.err == ""
    images = torch.tensor(np.stack(pixels_of(DIGITS)))[:, None]
    assert_close(found.values, embedded(finished, images))


def test_identify_takes_images_in_the_folders_of_their_people(script, finished, digits, tmp_path):
    _, found = embed(script, finished, digits, tmp_path / "e.npz")
    assert found.ids is None  # z.png lies in no folder
    (digits / "z.png").rename(digits / "b" / "z.png")
    said, found = embed(script, finished, digits, tmp_path / "e.npz")
    assert found.ids == ("a", "a", "b/c", "b/c", "b") and "3 ids" in said.out
    said = script("identify", f"probes={tmp_path / 'e.npz'}", f"distractors={tmp_path / 'e.npz'}")
    assert said.code == 0 and "4 trials" in said.out, said.err


@pytest.mark.parametrize("mirror", ["sum", "concat"])
def test_mirror_features(script, finished, digits, tmp_path, mirror):
    _, found = embed(script, finished, digits, tmp_path / "e.npz", f"mirror={mirror}")
    images = torch.tensor(np.stack(pixels_of(DIGITS)))[:, None]
    straight, mirrored = embedded(finished, images), embedded(finished, images, mirrored=True)
    expected = straight + mirrored if mirror == "sum" else torch.cat([straight, mirrored], 1)
    assert_close(found.values, expected)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_batch_size_changes_nothing(script, finished, digits, tmp_path, size):
    _, one = embed(script, finished, digits, tmp_path / "a.npz")
    _, other = embed(script, finished, digits, tmp_path / "b.npz", f"trainer.eval_batch_size={size}")
    assert_close(other.values, torch.tensor(one.values), share=1e-5)
    assert one.names == other.names


def test_colour_images_keep_the_order_of_their_channels(script, colour_run, tmp_path):
    pictures = pixels_of("abcd", (32, 32, 3))
    images = save(tmp_path / "images", [f"{name}.png" for name in "abcd"], pictures)
    _, found = embed(script, colour_run, images, tmp_path / "e.npz")
    expected = embedded(colour_run, torch.tensor(np.stack(pictures)).permute(0, 3, 1, 2))
    assert_close(found.values, expected)


def test_a_colour_image_for_a_grey_network_is_made_grey(script, finished, tmp_path):
    [picture] = pixels_of("a", (28, 28, 3))
    images = save(tmp_path / "images", ["a.png"], [picture])
    _, found = embed(script, finished, images, tmp_path / "e.npz")
    luma = (picture @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)  # ITU-R BT.601
    expected = embedded(finished, torch.tensor(luma)[None, None])
    assert_close(found.values, expected, share=0.02)


def test_wrong_images_are_one_error_that_lists_them_all(script, finished, digits, tmp_path):
    (digits / "b" / "broken.jpg").write_bytes(b"no image")
    save(digits, ["b/large.png"], pixels_of("a", (30, 40)))
    out = tmp_path / "e.npz"
    said = script("embed", f"run={finished}", f"images={digits}", f"out={out}", "trainer.eval_batch_size=2")
    assert said.code == 2 and said.err.count("\n") == 1 and not out.exists()
    assert "2 of 7 images are wrong" in said.err and "not a JPEG, PNG or BMP image: b/broken.jpg" in said.err
    assert "30 x 40 pixels (rows x columns), wanted 28 x 28 or resize=true: b/large.png" in said.err


def test_thousands_of_wrong_images_are_a_line_of_few_words(script, finished, tmp_path):
    names = [f"{number:02d}.png" for number in range(50)]
    images = save(tmp_path / "images", names, [np.zeros((28, max(29, number)), np.uint8) for number in range(50)])
    said = script("embed", f"run={finished}", f"images={images}", f"out={tmp_path / 'e.npz'}")
    assert "50 of 50 images are wrong: 28 x 29 pixels" in said.err and "19.png and 10 more; 28 x 30 pixels" in said.err
    assert said.err.endswith("; and 16 other reasons\n") and said.err.count("\n") == 1


def test_resize_scales_and_says_so(script, finished, tmp_path):
    [picture] = pixels_of("a", (56, 56))
    wide = np.pad(picture, ((0, 0), (20, 20)), mode="edge")  # what sticks out is cut off
    images = save(tmp_path / "images", ["square.png", "wide.png"], [picture, wide])
    said, found = embed(script, finished, images, tmp_path / "e.npz", "resize=true")
    assert "warning: 1 images: 56 x 96 scaled to 28 x 28" in said.err
    assert_close(found.values[1], torch.tensor(found.values[0]), share=0.01)
    halved = picture.reshape(28, 2, 28, 2).mean((1, 3)).round().astype(np.uint8)
    expected = embedded(finished, torch.tensor(halved)[None, None])[0]
    assert_close(found.values[0], expected, share=0.05)


@pytest.fixture
def face_run(run_of):
    return run_of((3, 112, 96), torch.full((3, 1, 1), 127.5), *FACE)


def test_verify_reads_what_embed_writes(script, face_run, tmp_path):
    """And finds what it finds with the run itself."""
    names = [f"P{person}/P{person}_{number:04d}.png" for person in range(4) for number in range(1, 5)]
    images = save(tmp_path / "images", names, pixels_of(names, (112, 96, 3)))
    same = [f"P{person}\t{a}\t{a + 1}" for person in range(4) for a in (1, 3)]
    other = [f"P{person}\t{a}\tP{(person + 1) % 4}\t{a}" for person in range(4) for a in (1, 3)]
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("\n".join(line for both in zip(same, other, strict=True) for line in both) + "\n")
    embed(script, face_run, images, tmp_path / "e.npz", "mirror=sum")
    common = [f"pairs={pairs}", "folds=4"]
    one = script("verify", f"embeddings={tmp_path / 'e.npz'}", *common, f"out={tmp_path / 'a'}")
    two = script("verify", f"run={face_run}", f"images={images}", "mirror=sum", *common, f"out={tmp_path / 'b'}")
    assert (one.code, two.code) == (0, 0), one.err + two.err
    a, b = (json.loads((tmp_path / name / "verification.json").read_text()) for name in "ab")
    for key in ("accuracy", "auc", "thresholds", "wrong_pairs"):
        assert a[key] == pytest.approx(b[key])


def test_faces_of_both_aligned_sizes(script, face_run, tmp_path):
    """The narrow crop is columns 8 .. 103 of the wide one."""
    [wide] = pixels_of("a", (112, 112, 3))
    images = save(tmp_path / "images", ["narrow.png", "wide.png"], [wide[:, 8:104], wide])
    said, found = embed(script, face_run, images, tmp_path / "e.npz")
    assert said.err == ""
    assert_close(found.values[0], torch.tensor(found.values[1]))
    expected = embedded(face_run, torch.tensor(wide[:, 8:104].copy()).permute(2, 0, 1)[None])
    assert_close(found.values[:1], expected)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ([], "a.png: 100 x 100 pixels (rows x columns), wanted 112 x 96 or 112 x 112 or resize=true"),
        (["align=fixed"], "a.png: 100 x 100 pixels (rows x columns), wanted 250 x 250"),
        (["align=fixed", "resize=true"], "a.png: 100 x 100 pixels (rows x columns), wanted 250 x 250"),
    ],
)
def test_a_face_of_the_wrong_size(script, face_run, tmp_path, options, wanted):
    images = save(tmp_path / "images", ["a.png"], pixels_of("a", (100, 100, 3)))
    said = script("embed", f"run={face_run}", f"images={images}", f"out={tmp_path / 'e.npz'}", *options)
    assert said.code == 2 and wanted in said.err and said.err.count("\n") == 1


def test_faces_that_are_resized_or_cut(script, face_run, tmp_path):
    images = save(tmp_path / "images", ["a.png"], pixels_of("a", (250, 250, 3)))
    said, scaled = embed(script, face_run, images, tmp_path / "a.npz", "resize=true")
    assert "1 images: of another size than 112 x 96, scaled" in said.err
    said, cut = embed(script, face_run, images, tmp_path / "b.npz", "align=fixed")
    assert said.err == "" and not np.allclose(scaled.values, cut.values)


def test_what_is_no_image_of_the_user_is_left_out(script, finished, digits, tmp_path):
    (digits / "list.txt").write_text("a list")
    (digits / "._z.png").write_bytes(b"of the system")
    (digits / "folder.png").mkdir()
    _, found = embed(script, finished, digits, tmp_path / "e.npz")
    assert list(found.names) == DIGITS


def test_a_folder_without_images_is_one_line(script, tmp_path):
    (tmp_path / "images").mkdir()
    said = script("embed", "run=a", f"images={tmp_path / 'images'}", "out=b.npz")
    assert said.code == 2 and "holds no image" in said.err and said.err.count("\n") == 1


def test_an_output_that_cannot_be_written_is_one_line(script, digits, tmp_path):
    (tmp_path / "file").write_text("")
    said = script("embed", "run=a", f"images={digits}", f"out={tmp_path / 'file' / 'e.npz'}")
    assert said.code == 2 and "cannot write" in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ([], "run= is missing"),
        (["run=a", "out=b.npz"], "images= is missing"),
        (["run=a", "images=b"], "out= is missing"),
        (["run=a", "images=b", "out=c.txt"], "out must be a file FILE.npz"),
        (["run=a", "images=b", "out=c.npz", "resize=yes"], "resize must be true or false"),
        (["run=a", "images=nowhere", "out=c.npz"], "there is no folder images=nowhere"),
        (["nonsense"], "key=value"),
    ],
)
def test_a_wrong_option_is_one_line(script, options, part):
    said = script("embed", *options)
    assert said.code == 2 and part in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["mirror=both"], "mirror must be one of none, sum, concat"),
        (["align=umeyama"], "align must be none"),
        (["align=fixed"], "align=fixed is for faces"),
        (["dataset=mnist"], "has its own dataset"),
        (["dataset.scale=2"], "dataset.scale=2: the run in "),
        (["seed=3"], "seed=3: the run in "),
        (["trainer.eval_batch_size=0"], "trainer.eval_batch_size must be"),
    ],
)
def test_an_option_that_does_not_fit_the_run_is_one_line(script, finished, digits, tmp_path, options, part):
    said = script("embed", f"run={finished}", f"images={digits}", f"out={tmp_path / 'e.npz'}", *options)
    assert said.code == 2 and part in said.err and said.err.count("\n") == 1
