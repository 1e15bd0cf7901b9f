"""result.json: complete, right and plain."""

import json
import math
import os
import shutil
import subprocess
from dataclasses import replace

import pytest
import torch

from lsoftmax.engine import record as record_module
from lsoftmax.engine.folder import identity_sha256
from lsoftmax.engine.record import diverged_record, final_record, git_commit
from lsoftmax.metrics import ClassCosines

# What README promises of result.json.
FIELDS = {
    *("status", "dataset", "model", "loss", "schedule", "seed", "steps", "test_error", "train_error", "val_error"),
    *("wrong", "predicted_classes", "verification", "num_classes", "parameters", "multiply_adds", "curve", "restarts"),
    *("divergences", "seconds", "images_per_s", "precision", "compile", "threads", "device", "versions"),
    *("config_sha256", "dataset_sha256"),
}
ASKED = {"dataset": {"name": "tiny"}, "model": {}, "loss": {"name": "lsoftmax"}, "schedule": {"steps": 12}, "seed": 0}
KNOWN = {"num_classes": 3, "test_images": 20, "parameters": 1, "multiply_adds": 2, "dataset_sha256": "a" * 64}


@pytest.fixture
def record(tools, trained):
    return final_record(trained, tools.StopAt(), ASKED, KNOWN)


def test_it_holds_every_field_of_the_design(record):
    assert record.keys() >= FIELDS


def test_a_diverged_one_holds_them_too(trained):
    assert diverged_record(trained, ASKED, KNOWN).keys() >= FIELDS


def test_it_is_json(record):
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_versions_are_complete(record):
    assert record["versions"].keys() == {"python", "torch", "lsoftmax", "git"}


@pytest.fixture
def nobodys_git(monkeypatch, tmp_path):
    """No user's or hook's settings, and no checkout above the folder of the test."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.usefixtures("nobodys_git")
def test_the_commit_is_marked_where_files_were_changed_outputs_apart(tmp_path, monkeypatch):
    def git(*command):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=tmp_path, check=True)

    code, output = tmp_path / "lsoftmax" / "record.py", tmp_path / "outputs" / "table.md"
    for path in (code, output):
        path.parent.mkdir()
        path.touch()
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "x")
    monkeypatch.setattr(record_module, "__file__", str(code))
    output.write_text("a row")
    commit = git_commit()
    code.write_text("x = 1")
    assert len(commit) == 12 and git_commit() == f"{commit}-dirty"


@pytest.mark.usefixtures("nobodys_git")
def test_outside_a_checkout_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(record_module, "__file__", str(tmp_path / "record.py"))
    assert git_commit() is None


def test_the_wrong_images_are_the_misclassified_ones(record, trained, tools):
    trained.backbone.eval()
    wrong, start = [], 0
    for images, labels in trained.sets["test"]():
        missed = trained.criterion.logits(trained.backbone(images)).argmax(1) != labels
        wrong += (missed.nonzero().flatten() + start).tolist()
        start += len(labels)
    assert record["wrong"] == wrong


def test_the_test_error_is_the_share_of_the_wrong(record):
    assert record["test_error"] == pytest.approx(100 * len(record["wrong"]) / 20, abs=1e-12)


def test_the_test_error_is_the_last_of_the_curve(record):
    assert record["test_error"] == record["curve"][-1][2]


def test_the_train_error_is_of_a_full_pass(record, trained, tools):
    assert record["train_error"] == trained.evaluate("train", tools.StopAt()).error


def test_without_validation_images_there_is_no_val_error(record):
    assert record["val_error"] is None


def test_the_val_error_is_measured_where_there_are_validation_images(tools, tmp_path):
    trainer = tools.trainer(tmp_path, steps=4)
    trainer.sets["val"] = trainer.sets["train"]
    record = final_record(tools.go(trainer), tools.StopAt(), ASKED, KNOWN)
    assert record["val_error"] == record["train_error"]


def test_predicted_classes_are_counted(tools, trained):
    with torch.no_grad():
        trained.criterion.weight.zero_()  # all scores are equal: everything is class 0
    trained.latest = {}
    record = final_record(trained, tools.StopAt(), ASKED, KNOWN)
    assert record["predicted_classes"] == 1 and record["collapsed"]


def test_a_run_that_learned_less_than_half_of_what_chance_misses_has_collapsed(record):
    assert record["status"] == "finished" and record["collapsed"] == (record["train_error"] > 100 / 3)


def test_a_run_resumed_after_its_end_has_the_same_record(tools, trained, record):
    again = tools.go_on(trained.path.parent)
    second = final_record(again, tools.StopAt(), ASKED, KNOWN)
    clock = {"seconds", "images_per_s", "restarts"}
    assert {k: v for k, v in second.items() if k not in clock} == {k: v for k, v in record.items() if k not in clock}


def test_how_it_was_run_is_recorded(record):
    assert (record["precision"], record["compile"], record["threads"]) == ("fp32", False, torch.get_num_threads())


def test_how_often_it_was_started_again_is_recorded(trained):
    trained.progress.restarts = 2
    assert diverged_record(trained, ASKED, KNOWN)["restarts"] == 2


def test_every_precision_that_steps_were_done_in_is_recorded(trained):
    trained.progress.precisions = ["fp32", "bf16"]
    assert diverged_record(trained, ASKED, KNOWN)["precision"] == "fp32+bf16"


@pytest.mark.parametrize("key", ["deterministic", "compile"])
def test_each_option_of_how_it_was_run_is_recorded_by_itself(trained, key):
    trained.options = replace(trained.options, **{"deterministic": False, "compile": False, key: True}, cuda_graph=True)
    record = diverged_record(trained, ASKED, KNOWN)
    assert record["cuda_graph"] is False  # there is no GPU to record on
    assert [name for name in ("deterministic", "compile") if record[name]] == [key]


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_memory_format_is_recorded(tools, tmp_path, channels_last):
    trainer = tools.go(tools.trainer(tmp_path, steps=4, channels_last=channels_last))
    record = final_record(trainer, tools.StopAt(), ASKED, KNOWN)
    assert (record["channels_last"], record["compile"]) == (channels_last, False)


def test_the_speed_is_in_images_and_not_in_steps(record):
    assert record["images_per_s"] * record["seconds"] == pytest.approx(12 * 8, rel=0.05)


def test_the_cosines_are_those_of_each_set(record, trained, tools):
    found = {name: trained.evaluate(name, tools.StopAt()).cosines._asdict() for name in ("train", "test")}
    assert record["cosines"] == {name: pytest.approx(values, rel=1e-5) for name, values in found.items()}
    assert found["train"] != found["test"]


def test_a_cosine_of_no_pair_is_null(trained, tools):
    evaluation = trained.evaluate("test", tools.StopAt())
    trained.latest["test"] = replace(evaluation, cosines=ClassCosines(math.nan, 0.25))
    record = final_record(trained, tools.StopAt(), ASKED, KNOWN)
    assert record["cosines"]["test"] == {"same_class": None, "other_classes": 0.25}


def test_the_hash_is_that_of_what_was_asked(record):
    assert record["config_sha256"] == identity_sha256(ASKED)


def test_the_device_has_a_name(record):
    assert record["device"]


def test_the_curve_holds_every_evaluation(record):
    assert [point[0] for point in record["curve"]] == [4, 8, 12]


def test_the_curve_ends_at_the_last_step_also_between_two_evaluations(tools, tmp_path):
    trainer = tools.go(tools.trainer(tmp_path, steps=10))
    record = final_record(trainer, tools.StopAt(), ASKED, KNOWN)
    assert [point[0] for point in record["curve"]] == [4, 8, 10]
