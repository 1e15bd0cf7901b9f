"""scripts/evaluate.py: a run's error again, by class; and what it does with weights that are none."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from data.faces import Crop
from scripts import evaluate as module

SMOKE = ["debug=smoke", "dataset.validation=100"]


def test_it_finds_the_error_of_result_json(script, finished, result):
    said = script("evaluate", f"run={finished}")
    assert said.code == 0
    assert f"test error {result['test_error']:.2f} %" in said.out and "as in result.json" in said.out


def test_it_says_so_if_the_result_differs(script, finished, result, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "result.json").write_text(json.dumps(result | {"test_error": 12.5}))
    assert "result.json says 12.50 %" in script("evaluate", f"run={run}").out


@pytest.mark.parametrize("content", ["[]", '{"test_error": "low"}', '{"test_error": null}'])
def test_a_result_that_is_none_is_not_compared_with(script, finished, tmp_path, content):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "result.json").write_text(content)
    assert "result.json cannot be read: nothing to compare with" in script("evaluate", f"run={run}").out


def test_a_run_without_a_result_is_not_compared_with(script, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "result.json").unlink()
    assert "there is no result.json to compare with" in script("evaluate", f"run={run}").out


@pytest.fixture
def numbers(script, finished, tmp_path):
    assert script("evaluate", f"run={finished}", f"out={tmp_path / 'numbers.json'}").code == 0
    return json.loads((tmp_path / "numbers.json").read_text())


def test_a_folder_for_the_numbers_is_made_or_refused_before_the_pass(script, finished, tmp_path):
    assert script("evaluate", f"run={finished}", f"out={tmp_path / 'new' / 'a.json'}").code == 0
    said = script("evaluate", f"run={finished}", f"out={tmp_path / 'new' / 'a.json' / 'b.json'}")
    assert (said.code, said.out) == (2, "") and said.err.startswith("error: cannot write ")


def test_the_confusion_matrix_counts_every_image_once(numbers):
    assert np.sum(numbers["confusion"], axis=1).tolist() == [100] * 10


def test_the_errors_by_class_are_those_of_the_matrix(numbers):
    confusion = np.array(numbers["confusion"])
    assert numbers["class_error"] == pytest.approx((100 - confusion.diagonal()).tolist())


def test_the_wrong_images_are_as_many_as_the_record_lists(numbers, result):
    confusion = np.array(numbers["confusion"])
    assert confusion.sum() - confusion.trace() == len(result["wrong"])


def test_the_validation_images_give_the_validation_error(script, finished, result, tmp_path):
    said = script("evaluate", f"run={finished}", "set=val", f"out={tmp_path / 'v.json'}")
    assert "result.json" not in said.out  # whose test error is another thing
    assert json.loads((tmp_path / "v.json").read_text())["error"] == result["val_error"]


def test_the_training_images_give_the_training_error(script, finished, result, tmp_path):
    script("evaluate", f"run={finished}", "set=train", f"out={tmp_path / 't.json'}")
    assert json.loads((tmp_path / "t.json").read_text())["error"] == result["train_error"]


def test_a_bare_file_with_chosen_options_gives_the_same_error(script, finished, result):
    said = script("evaluate", f"weights={finished / 'model.safetensors'}", *SMOKE)
    assert f"test error {result['test_error']:.2f} %" in said.out


def test_another_network_is_an_error_that_names_the_tensor(script, finished):
    said = script("evaluate", f"weights={finished / 'model.safetensors'}", *SMOKE, "model.width=0.5")
    assert said.code == 2 and "backbone.conv0.0.conv.weight" in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize("cut", [0, 1, 8, 100, 5000, -1])
def test_a_truncated_file_is_one_line(script, finished, tmp_path, cut):
    whole = (finished / "model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:cut])
    said = script("evaluate", f"weights={tmp_path / 'cut.safetensors'}", *SMOKE)
    assert said.code == 2 and said.err.startswith("error: ") and said.err.count("\n") == 1


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_is_no_weights_file_and_is_not_executed(script, tmp_path):
    (tmp_path / "bomb").write_bytes(pickle.dumps(Bomb(tmp_path / "executed")))
    said = script("evaluate", f"weights={tmp_path / 'bomb'}", *SMOKE)
    assert said.code == 2 and not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ([], "run=FOLDER or weights=FILE"),
        (["run=a", "weights=b"], "run=FOLDER or weights=FILE"),
        (["run=nowhere"], "config.yaml is missing"),
        (["weights=nowhere.safetensors"], "nowhere.safetensors"),
        (["weights=x", "set=all"], "set must be one of"),
        (["weights=x", "out="], "out must be a file"),
        (["weights=x", "loss.m=0"], "loss.m must be an integer >= 1"),
        (["nonsense"], "key=value"),
    ],
)
def test_a_wrong_option_is_one_line(script, options, part):
    said = script("evaluate", *options)
    assert said.code == 2 and part in said.err and said.err.count("\n") == 1


def test_a_set_that_the_run_does_not_have_is_one_line(script, finished):
    said = script("evaluate", f"run={finished}", "set=val", "dataset.validation=0")
    assert said.code == 2 and "dataset.validation=0" in said.err


@pytest.mark.parametrize("option", ["dataset.validation=50", "dataset.scale=2", "model.pooling=floor"])
def test_an_option_that_would_make_another_run_is_refused(script, finished, option):
    said = script("evaluate", f"run={finished}", option)
    assert said.code == 2 and f"{option}: the run in {finished} was made otherwise" in said.err


def test_help_says_what_it_is_for(script):
    said = script("evaluate", "-h")
    assert said.code == 0 and "run=" in said.out and "weights=" in said.out


@pytest.fixture(scope="module")
def faces_root(tmp_path_factory):
    """data_root with webface/, 1,010 people with two images each, all of them alike."""
    root = tmp_path_factory.mktemp("root")
    people = 1010
    (root / "webface").mkdir()
    np.save(root / "webface" / "images.npy", np.zeros((2 * people, 3, 112, 96), np.uint8))
    np.save(root / "webface" / "labels.npy", np.repeat(np.arange(people), 2))
    head = {"format": 1, "images": 2 * people, "identities": people, "classes": [f"P{k:04d}" for k in range(people)]}
    (root / "webface" / "manifest.json").write_text(json.dumps(head | Crop().describe()))
    return root


@pytest.fixture
def face_run(run_of, faces_root):
    def make(*options, num_classes):
        options = ["dataset=webface", "model=face_narrow", "model.width=0.0625", f"data_root={faces_root}", *options]
        return run_of((3, 112, 96), torch.full((3, 1, 1), 127.5), *options, num_classes=num_classes)

    return make


def test_faces_have_no_images_to_validate_on(script, face_run):
    said = script("evaluate", f"run={face_run('dataset.validation=20', num_classes=990)}", "set=val")
    assert said.code == 2 and said.err.count("\n") == 1
    assert "set=val: of faces people are held out, not images" in said.err


def test_errors_of_a_thousand_classes_are_for_the_file(script, face_run, tmp_path):
    out = tmp_path / "numbers.json"
    said = script("evaluate", f"run={face_run('dataset.test_images=4', num_classes=1010)}", f"out={out}")
    assert said.code == 0 and "errors of all 1,010 classes" in said.out and "P0000" not in said.out
    numbers = json.loads(out.read_text())
    assert numbers["confusion"] is None and len(numbers["class_error"]) == 1010
    errors = [error for error in numbers["class_error"] if error is not None]  # one image of each of four people
    assert len(errors) == 4 and sum(errors) / 4 == numbers["error"]


@pytest.mark.parametrize(("classes", "listed"), [(100, True), (101, False)])
def test_a_hundred_classes_are_listed_and_no_more(classes, listed):
    table = {"class_error": [0.0] * classes, "confusion": [[0] * classes] * classes}
    numbers = {"set": "test", "images": 1, "error": 0.0, "classes": [f"class{k}" for k in range(classes)], **table}
    assert ("class99" in module._report(numbers)) == listed


@pytest.mark.parametrize(("most", "there"), [(10, True), (9, False)])
def test_a_matrix_of_the_most_classes_is_kept(script, finished, tmp_path, monkeypatch, most, there):
    monkeypatch.setattr("evaluate.MATRIX", most)
    monkeypatch.setattr("evaluate.LISTED", 9)
    assert script("evaluate", f"run={finished}", f"out={tmp_path / 'numbers.json'}").code == 0
    assert (json.loads((tmp_path / "numbers.json").read_text())["confusion"] is not None) == there
