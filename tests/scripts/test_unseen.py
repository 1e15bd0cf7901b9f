"""Retrieval of classes that a network has never seen: which images, what is kept, the table of a study."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
import unseen

import assemble
from configs.errors import ConfigError
from configs.settings import compose
from data import ImageSet
from lsoftmax.metrics import retrieve
from scripts import _plan, _records
from scripts._network import open_network

CIFAR10 = ["dataset=cifar10", "model.width=0.05"]


@pytest.fixture
def cifar100(monkeypatch) -> ImageSet:
    """60 test images of 10 of CIFAR100's classes, in the place of the real ones."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(10).repeat(6)
    pixels = torch.randint(0, 200, (60, 3, 32, 32), generator=generator) + 5 * labels.view(-1, 1, 1, 1)
    images = ImageSet(pixels.byte(), labels, tuple(map(str, range(100))))
    monkeypatch.setattr(assemble, "load_data", lambda settings: SimpleNamespace(test=images))
    return images


def test_a_run_is_measured_on_all_of_cifar100(run_of, cifar100, script):
    run = run_of((3, 32, 32), torch.full((3, 1, 1), 120.0), *CIFAR10)
    network = open_network(run)
    with torch.no_grad():
        expected = retrieve(network.backbone(network.prepare(cifar100.images)), cifar100.labels)
    found = unseen.measure(run)
    assert found["recall_at_1"] == pytest.approx(100 * expected.recall_at_1) and found["classes"] == 10
    assert found["map_at_r"] == pytest.approx(100 * expected.map_at_r) and found["images"] == 60
    said = script("unseen", f"run={run}")
    assert (
        said.code == 0
        and f"60 images of 10 classes that the network has never seen: recall at 1 {found['recall_at_1']:.2f} %"
        in said.out
    )


def test_of_cifar100_only_the_other_classes_are_unseen(cifar100):
    images = unseen.images_for(compose(["dataset=cifar100", "dataset.classes=7"]))
    assert set(images.labels.tolist()) == {7, 8, 9} and len(images) == 18


@pytest.mark.parametrize("options", [["dataset=cifar100"], ["dataset=mnist"], ["dataset=mnist5k"]])
def test_a_network_of_all_classes_is_an_error(options, cifar100):
    with pytest.raises(ConfigError, match=f"{options[0]}: a network of all its classes, and no others are at hand"):
        unseen.images_for(compose(options))


@pytest.mark.parametrize("options", [[], ["run=a", "study=decay"]])
def test_one_run_or_one_study(options, script):
    assert script("unseen", *options) == (2, "", "error: give either run=FOLDER or study=NAME\n")


STUDY = {
    "title": "Ways",
    "profile": "small",
    "seeds": 2,
    "columns": [{"label": "CIFAR10", "overrides": ["dataset=cifar10"]}],
    "rows": [{"label": "softmax", "overrides": ["loss=softmax"]}, {"label": "m = 4", "overrides": ["loss.m=4"]}],
}


@pytest.fixture
def study(monkeypatch, elsewhere) -> list[_plan.Cell]:
    monkeypatch.setattr(_plan, "read_study", lambda name: STUDY)
    return _plan.figure_cells(STUDY, _plan.read_profile("small"), 2)


def test_a_study_is_measured_where_weights_are_left_and_stays_when_they_are_gone(
    study, elsewhere, run_of, cifar100, made_up, script
):
    run = run_of((3, 32, 32), torch.full((3, 1, 1), 120.0), *CIFAR10)
    softmax, margin = (made_up(cell.settings, test_error=7.0) for cell in study[:2])
    for record in (softmax, margin):
        _records.keep(record, _records.STUDIES)
    folder = elsewhere / "runs" / "cifar10" / "by hand" / "seed=0"
    shutil.copytree(run, folder)
    (folder / "result.json").write_text(json.dumps(margin))
    assert script("unseen", "study=any").code == 0
    [kept] = (elsewhere / "results" / "stability" / "unseen").glob("*.json")
    table = (elsewhere / "results" / "stability" / "unseen_any.md").read_text()
    assert (
        f"| m = 4 | 1 | 7.00 | {json.loads(kept.read_text())['recall_at_1']:.2f} |" in table
        and "| softmax" not in table
    )
    shutil.rmtree(folder)
    assert script("unseen", "study=any").code == 0
    assert (elsewhere / "results" / "stability" / "unseen_any.md").read_text() == table


def test_weights_of_another_run_are_not_taken(study, elsewhere, run_of, cifar100, made_up, script):
    record = made_up(study[0].settings)
    _records.keep(record, _records.STUDIES)
    folder = elsewhere / "runs" / "cifar10" / "by hand" / "seed=0"
    shutil.copytree(run_of((3, 32, 32), torch.full((3, 1, 1), 120.0), *CIFAR10), folder)
    (folder / "result.json").write_text(json.dumps(record | {"test_error": 50.0}))
    assert script("unseen", "study=any").code == 0
    assert not (elsewhere / "results" / "stability" / "unseen").exists()
