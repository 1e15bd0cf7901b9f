"""scripts/export.py: what it writes runs with torch alone and gives what the run's own network gives."""

import dataclasses
import json
import shutil
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file

import models
from configs.settings import ROOT, from_file
from lsoftmax.engine.weights import load_into

FILES = {"model.pt2", "model.safetensors", "config.json", "README.md"}
SHAPE, IMAGE_MEAN = (1, 28, 28), torch.linspace(0, 60, 28 * 28).view(1, 28, 28)
NARROW = ["model=mnist", "model.width=0.0625"]

# A stranger's program: bytes and floats, several batch sizes, and none of the packages that made the file.
STRANGER = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("lsoftmax", "models", "data", "configs", "scripts", "assemble"):
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
for name in ("lsoftmax", "models", "data", "configs"):
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(f"{name} can be imported")

import torch
from safetensors.torch import load_file, save_file

model = torch.export.load(sys.argv[1]).module()
images = load_file(sys.argv[2])["images"]
found = {}
for name, given in {"all": images, "float": images.float(), "one": images[:1]}.items():
    embeddings, logits = model(given)
    found |= {f"{name} embeddings": embeddings.contiguous(), f"{name} logits": logits.contiguous()}
save_file(found, sys.argv[3])
"""


def pictures(count, shape):
    return torch.randint(0, 256, (count, *shape), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


def embedded(run, images):
    """(N, D) by the definition: the network of the run's configuration on (pixel - mean) / scale, in float64."""
    settings, path = from_file(run / "config.yaml"), run / "model.safetensors"
    tensors = load_file(path)
    backbone = models.build(image_shape=images.shape[1:], **asdict(settings.model))
    load_into(backbone, tensors, "backbone", path)
    pixels = (images.double() - tensors["input.mean"].double()) / settings.dataset.scale
    with torch.no_grad():
        return backbone.double().eval()(pixels), tensors["criterion.weight"].double()


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    """The smoke run's export."""
    import export

    out = tmp_path_factory.mktemp("export") / "new" / "folder"
    export.export([f"run={finished}", f"out={out}"])
    return out


def test_it_runs_where_our_packages_cannot_be_imported(finished, exported, tmp_path):
    images = pictures(5, SHAPE)
    save_file({"images": images}, tmp_path / "images")
    command = [sys.executable, "-c", STRANGER, exported / "model.pt2", tmp_path / "images", tmp_path / "found"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = load_file(tmp_path / "found")
    embeddings, weight = embedded(finished, images)
    for name, rows in {"all": 5, "float": 5, "one": 1}.items():
        close = {"rtol": 1e-4, "atol": 1e-4 * embeddings.abs().max().item()}
        torch.testing.assert_close(found[f"{name} embeddings"].double(), embeddings[:rows], **close)
        logits = embeddings[:rows] @ weight.T
        close["atol"] = 1e-4 * logits.abs().max().item()
        torch.testing.assert_close(found[f"{name} logits"].double(), logits, **close)


def test_it_writes_four_files_and_says_how_close_it_is(script, finished, tmp_path):
    said = script("export", f"run={finished}", f"out={tmp_path}")
    assert said.code == 0 and {path.name for path in tmp_path.iterdir()} == FILES
    assert "largest difference" in said.out and "embeddings 0.0e+00, logits 0.0e+00" in said.out


def test_what_an_export_has_not_written_stays(script, finished, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    said = script("export", f"run={finished}", f"out={tmp_path}")
    assert said.code == 2 and "its README.md is not from an export" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"] and (
        tmp_path / "README.md"
    ).read_text() == "mine"


def test_an_export_may_be_done_again(script, finished, tmp_path):
    assert [script("export", f"run={finished}", f"out={tmp_path}").code for _ in range(2)] == [0, 0]


def test_the_weights_are_those_of_the_run(finished, exported):
    assert (exported / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()


def test_the_description_has_shapes_preprocessing_and_numbers(exported, result):
    config = json.loads((exported / "config.json").read_text())
    assert config["input"]["shape"] == ["N", 1, 28, 28] and config["input"]["colour"] == "grey"
    assert config["input"]["mean"] is None and config["input"]["scale"] == 1.0  # a mean image
    assert config["output"]["logits"] == ["N", 10]
    assert config["training"]["dataset"]["name"] == "mnist5k" and config["training"]["seed"] == 0
    assert config["result"]["test_error"] == result["test_error"]
    assert config["dataset_sha256"] == result["dataset_sha256"] and result["image_shape"] == [1, 28, 28]


def test_the_card_says_what_it_is(exported, result):
    card = (exported / "README.md").read_text()
    for part in (
        "on mnist5k",
        f"| test error (%) | {result['test_error']:.6g} |",
        "(N, 1, 28, 28), grey",
        "mean image",
        "licence",
        "@inproceedings{liu2016large",
    ):
        assert part in card


def test_nothing_of_this_machine_is_in_the_file(script, run_of, tmp_path):
    run = run_of(SHAPE, IMAGE_MEAN, *NARROW, "loss=cosface")  # its graph has a part of its own
    assert script("export", f"run={run}", f"out={tmp_path / 'out'}").code == 0
    assert str(ROOT).encode() not in (tmp_path / "out" / "model.pt2").read_bytes()


def plain(embeddings, weight, bias):
    return embeddings @ weight.T + bias


def cosines(embeddings, weight, bias):
    unit = torch.nn.functional.normalize
    return unit(embeddings) @ unit(weight).T


@pytest.mark.parametrize(
    ("loss", "logits"),
    [
        ("hinge", plain),
        ("asoftmax", lambda x, w, b: x @ torch.nn.functional.normalize(w).T),
        ("arcface", lambda x, w, b: 64 * cosines(x, w, b)),
    ],
)
def test_the_logits_are_those_of_the_loss(script, run_of, tmp_path, loss, logits):
    run = run_of(SHAPE, IMAGE_MEAN, *NARROW, f"loss={loss}")
    assert script("export", f"run={run}", f"out={tmp_path / 'out'}").code == 0
    images = pictures(3, SHAPE)
    embeddings, weight = embedded(run, images)
    bias = load_file(run / "model.safetensors").get("criterion.bias", torch.zeros(4)).double()
    found = torch.export.load(tmp_path / "out" / "model.pt2").module()(images)[1].double()
    expected = logits(embeddings, weight, bias)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_a_face_run(script, run_of, tmp_path):
    """A mean per channel: the size of the images is that which fits the weights. And a scale."""
    run = run_of(
        (3, 112, 96), torch.full((3, 1, 1), 127.5), "model=face_narrow", "model.width=0.0625", "dataset.scale=128"
    )
    assert script("export", f"run={run}", f"out={tmp_path / 'out'}").code == 0
    images = pictures(2, (3, 112, 96))
    expected, _ = embedded(run, images)
    found = torch.export.load(tmp_path / "out" / "model.pt2").module()(images)[0].double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    config = json.loads((tmp_path / "out" / "config.json").read_text())["input"]
    assert (config["mean"], config["scale"], config["colour"]) == ([127.5] * 3, 128.0, "RGB")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "subtraction of 127.5 (the mean), and division by 128," in card and "aligned" in card
    assert "result.json was not there" in card


def test_a_size_that_the_weights_leave_open_is_that_of_the_data_set(run_of):
    from scripts._network import open_network

    options = ["model=cifar10", "model.width=0.0625", "model.input_size=[16,16]", "dataset.like=cifar100"]
    run = run_of((3, 32, 32), torch.zeros(3, 1, 1), *options)
    assert open_network(run).image_shape == (3, 32, 32)


def test_the_size_of_the_images_is_what_the_weights_say(script, run_of, tmp_path):
    """With a mean per channel 28 x 28, 30 x 30 and 32 x 32 pixels make one network: pools that round up leave 4 x 4."""
    run = run_of((3, 30, 30), torch.zeros(3, 1, 1), *NARROW, metadata={"image_shape": [3, 30, 30]})
    assert script("export", f"run={run}", f"out={tmp_path / 'out'}").code == 0
    images = pictures(2, (3, 30, 30))
    expected, _ = embedded(run, images)
    found = torch.export.load(tmp_path / "out" / "model.pt2").module()(images)[0].double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    assert "(N, 3, 30, 30)" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("said", ["30 x 30", [3, 30], [3, 30, 0], [1, 30, 30]])
def test_a_damaged_size_of_the_images_is_one_line(script, run_of, tmp_path, said):
    run = run_of((3, 30, 30), torch.zeros(3, 1, 1), *NARROW, metadata={"image_shape": said})
    found = script("export", f"run={run}", f"out={tmp_path / 'out'}")
    assert found.code == 2 and "damaged" in found.err and found.err.count("\n") == 1


def test_a_size_of_the_images_that_is_not_that_of_their_mean_is_one_line(script, run_of, tmp_path):
    run = run_of((3, 32, 32), torch.zeros(3, 32, 32), *NARROW, metadata={"image_shape": [3, 30, 30]})
    found = script("export", f"run={run}", f"out={tmp_path / 'out'}")
    assert found.code == 2 and "its mean image and the size of its images differ" in found.err


def test_images_of_another_size_are_refused_by_the_graph(exported):
    model = torch.export.load(exported / "model.pt2").module()
    with pytest.raises(AssertionError, match="28"):
        model(torch.zeros(2, 1, 27, 28))


def test_a_file_that_gives_something_else_is_not_written(script, run_of, tmp_path, monkeypatch):
    from scripts import _inference

    honest = _inference.exported
    shifted = lambda network: honest(dataclasses.replace(network, mean=network.mean + 1))  # noqa: E731
    monkeypatch.setattr(_inference, "exported", shifted)
    run = run_of(SHAPE, IMAGE_MEAN, *NARROW)
    said = script("export", f"run={run}", f"out={tmp_path / 'out'}")
    assert said.code == 2 and "embeddings differ from the run's own" in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_largest_of_all_differences_counts(run_of, tmp_path, monkeypatch):
    from scripts import _inference
    from scripts._network import open_network

    network = open_network(run_of(SHAPE, IMAGE_MEAN, *NARROW))
    found = iter([3e-6, 2e-6] + 10 * [0.0])
    monkeypatch.setattr(_inference, "_relative", lambda have, want: next(found))
    differences = _inference.differences(_inference.exported(network), network, tmp_path)
    assert differences == {"embeddings": 3e-6, "logits": 2e-6}


@pytest.mark.parametrize("place", [0, 4, 11])
def test_a_difference_that_is_no_number_is_not_written(run_of, tmp_path, monkeypatch, place):
    from lsoftmax.errors import UserError
    from scripts import _inference
    from scripts._network import open_network

    network = open_network(run_of(SHAPE, IMAGE_MEAN, *NARROW))
    found = iter([float("nan") if k == place else 0.0 for k in range(12)])
    monkeypatch.setattr(_inference, "_relative", lambda have, want: next(found))
    with pytest.raises(UserError, match="is not written: its (embeddings|logits) differ from the run's own by nan"):
        _inference.differences(_inference.exported(network), network, tmp_path)


def test_a_difference_is_in_units_of_the_largest_value():
    from scripts import _inference

    assert _inference._relative(torch.tensor([-8.0, 1.0]), torch.tensor([-8.0, 3.0])) == 0.25
    assert _inference._relative(torch.tensor([0.5]), torch.tensor([0.0])) == 0.5


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ([], "run= is missing"),
        (["run=a"], "out= is missing"),
        (["run=a", "out="], "out= is missing"),
        (["run=a", "out=b", "device=cpu"], "unknown option device=cpu"),
        (["run=a", "out=a"], "choose another"),
        (["run=nowhere", "out=b"], "config.yaml is missing"),
        (["nonsense"], "key=value"),
    ],
)
def test_a_wrong_option_is_one_line(script, options, part):
    said = script("export", *options)
    assert said.code == 2 and part in said.err and said.err.count("\n") == 1


def test_a_run_that_has_not_ended_is_one_line(script, finished, tmp_path):
    (tmp_path / "run").mkdir()
    shutil.copy(finished / "config.yaml", tmp_path / "run")
    said = script("export", f"run={tmp_path / 'run'}", f"out={tmp_path / 'out'}")
    assert said.code == 2 and "has no weights" in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_result_is_one_line(script, run_of, tmp_path, content):
    run = run_of(SHAPE, IMAGE_MEAN, *NARROW)
    (run / "result.json").write_text(content)
    said = script("export", f"run={run}", f"out={tmp_path / 'out'}")
    assert said.code == 2 and "result.json is damaged" in said.err and said.err.count("\n") == 1


def test_weights_of_another_network_are_one_line(script, run_of, tmp_path):
    run = run_of(SHAPE, IMAGE_MEAN, *NARROW)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("width: 0.0625", "width: 0.125"))
    said = script("export", f"run={run}", f"out={tmp_path / 'out'}")
    assert said.code == 2 and "does not fit the network of its config.yaml" in said.err and said.err.count("\n") == 1
