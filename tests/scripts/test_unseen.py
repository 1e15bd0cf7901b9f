"""Retrieval of classes that a network has never seen: which images, what is kept, the table of a study."""

import csv
import io
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
import unseen
from PIL import Image

import assemble
from configs.errors import ConfigError
from configs.settings import compose
from data import ImageSet
from lsoftmax.metrics import paired_difference, retrieve
from lsoftmax.metrics.paired import students_t
from lsoftmax.metrics.roc import roc, tar_at_far
from scripts import _plan, _records, _studies, _tables
from scripts._metric import METRICS
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
    network = open_network(run, ["device=cpu"])
    with torch.no_grad():
        expected = retrieve(network.backbone(network.prepare(cifar100.images)), cifar100.labels)
    found = unseen.measure(run, ["device=cpu"])
    assert found["recall_at_1"] == pytest.approx(100 * expected.recall_at_1) and found["classes"] == 10
    assert found["map_at_r"] == pytest.approx(100 * expected.map_at_r) and found["images"] == 60
    assert found["queries"] == [6] * 10
    hits = [6 - missed for missed in found["misses"]]
    assert hits == [int(expected.hits[cifar100.labels == label].sum()) for label in range(10)]
    said = script("unseen", f"run={run}")
    assert (
        said.code == 0
        and f"60 images of 10 classes that the network has never seen: recall at 1 {found['recall_at_1']:.2f} %"
        in said.out
        and "TAR at FAR 0.001 " in said.out
    )


def test_of_all_pairs_it_tells_how_many_a_threshold_tells_apart(run_of, cifar100):
    run = run_of((3, 32, 32), torch.full((3, 1, 1), 120.0), *CIFAR10)
    network = open_network(run, ["device=cpu"])
    with torch.no_grad():
        unit = torch.nn.functional.normalize(network.backbone(network.prepare(cifar100.images)).double(), dim=1)
    left, right = torch.triu_indices(60, 60, 1)
    scores, same = (unit[left] * unit[right]).sum(1), cifar100.labels[left] == cifar100.labels[right]
    expected, found = roc(scores, same), unseen.measure(run, ["device=cpu"])
    assert found["eer"] == pytest.approx(100 * expected.eer, abs=1.5)  # of 150 pairs of one class, cosines near 1
    highest = tar_at_far(expected, int((~same).sum()), [1e-3])[1e-3]
    assert found["tar"] == pytest.approx(100 * highest.tar, abs=3)


def test_a_pair_of_strangers_is_counted_once():
    assert unseen._pairs_of_strangers(torch.tensor([0, 0, 1, 2])) == 5


def test_a_class_of_one_image_asks_for_nothing(run_of, cifar100, monkeypatch):
    images = cifar100.relabelled(torch.where(torch.arange(60) == 0, 10, cifar100.labels), cifar100.class_names)
    monkeypatch.setattr(assemble, "load_data", lambda settings: SimpleNamespace(test=images))
    found = unseen.measure(run_of((3, 32, 32), torch.full((3, 1, 1), 120.0), *CIFAR10))
    assert found["queries"] == images.labels.bincount()[:10].tolist() and len(found["misses"]) == 10
    assert (found["images"], found["classes"]) == (60, 11)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar10+"])
def test_other_classes_are_read_as_the_runs_own_images_were(dataset, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(assemble, "load_data", lambda settings: asked.append(settings) or SimpleNamespace(test=None))
    options = [f"data_root={tmp_path}", "data_download=false", "dataset.check_integrity=false"]
    unseen.images_for(compose([f"dataset={dataset}", *options]))
    assert asked == [compose(["dataset=cifar100", *options])]


def test_of_lfw_the_people_of_the_test_are_unseen(tmp_path, monkeypatch):
    folder = tmp_path / "lfw"
    for name, count in {"Ann": 2, "Bob": 1}.items():
        (folder / "images" / name).mkdir(parents=True)
        for number in range(1, count + 1):
            Image.new("RGB", (96, 112), (10 * number, 0, 0)).save(folder / "images" / name / f"{name}_{number:04d}.png")
    (folder / "peopleDevTest.txt").write_text("2\nAnn\t2\nBob\t1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    images = unseen.images_for(compose(["dataset=lfw_dev", "data_root=~"]))
    assert images.class_names == ("Ann", "Bob") and images.labels.tolist() == [0, 0, 1]
    assert images.images[:, 0, 0, 0].tolist() == [10, 20, 10]


def test_of_cifar100_only_the_other_classes_are_unseen(cifar100):
    images = unseen.images_for(compose(["dataset=cifar100", "dataset.classes=7"]))
    assert set(images.labels.tolist()) == {7, 8, 9} and len(images) == 18
    images = unseen.images_for(compose(["dataset=cifar100", "dataset.classes=7", "dataset.first_class=2"]))
    assert set(images.labels.tolist()) == {0, 1, 9}


ALL = [["dataset=cifar100"], ["dataset=cifar100", "dataset.classes=100"], ["dataset=mnist"], ["dataset=mnist5k"]]


@pytest.mark.parametrize("options", ALL)
def test_a_network_of_all_classes_is_an_error(options, cifar100):
    with pytest.raises(ConfigError, match=f"{options[0]}: a network of all its classes, and no others are at hand"):
        unseen.images_for(compose(options))


@pytest.mark.parametrize("options", [[], ["run=a", "study=decay"]])
def test_one_run_or_one_study(options, script):
    assert script("unseen", *options) == (2, "", "error: give either run=FOLDER or study=NAME\n")


STUDY = {
    "title": "Ways",
    "text": "What it asks.",
    "metric": "test_error",
    "baseline": "softmax",
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
    assert script("unseen", "study=any", "trainer.nothing=1").code == 2  # options go to each run
    said = script("unseen", "study=any")
    assert said.code == 0 and "1 runs; python scripts/reproduce.py study=any train=false" in said.out
    [kept] = (elsewhere / "results" / "stability" / "unseen").glob("*.json")
    shutil.rmtree(folder)
    assert script("unseen", "study=any").out == said.out.partition("\n")[2]
    results = _tables.collect(study, _records.read_records(_records.STUDIES))
    [(_, (_, (heads, [row])))] = _studies.problems(STUDY, results)
    assert heads[2::2] == ["unseen, recall at 1", "unseen, TAR at FAR 0.001", "unseen, EER"]
    assert "never seen" in _studies.meaning(STUDY, results)
    found = json.loads(kept.read_text())
    assert row == [
        "m = 4",
        "1",
        *(cell for key in ("recall_at_1", "tar", "eer") for cell in (f"{found[key]:.2f} (1)", "")),
    ]


def measured(misses, tar):
    """Of three classes with 2, 4 and 4 images."""
    return {"recall_at_1": 100 - 10 * sum(misses), "tar": tar, "eer": 30 - tar, "queries": [2, 4, 4], "misses": misses}


@pytest.fixture
def two_of_each(study, made_up):
    """Two runs of softmax and two with a margin, which finds one more image of the last class."""
    runs = {}
    for cell in study:
        misses, tar = ([1, 2 - cell.seed, 3], 11) if cell.row == "softmax" else ([1, 2 - cell.seed, 2], 17)
        unseen = measured(misses, tar + 2 * cell.seed)
        runs.setdefault((cell.row, "CIFAR10", "best"), []).append(made_up(cell.settings, unseen=unseen))
    return runs


def test_the_difference_of_what_is_found_is_paired_over_seeds_and_classes(two_of_each):
    softmax, margin = csv.DictReader(io.StringIO(_studies.comma_separated(STUDY, two_of_each)))
    wrong = [[[1, 2, 3], [1, 1, 3]], [[1, 2, 2], [1, 1, 2]]]
    expected = paired_difference(*map(torch.tensor, wrong), sizes=torch.tensor([2, 4, 4]))
    found = [float(margin[f"unseen_{key}"]) for key in ("difference", "low", "high")]
    assert found == pytest.approx(list(expected)) and expected.difference == pytest.approx(10)
    assert softmax["unseen_difference"] == ""
    assert f"| +10.00 [{expected.low:+.2f}, {expected.high:+.2f}] |" in _studies.markdown(STUDY, two_of_each, "")


def test_parts_with_classes_of_their_own_differ_by_their_shares(two_of_each):
    """Of ten images each softmax misses 6 and 5, the margin 5 and 4: a class of few images counts for few."""
    ways = [two_of_each[way, "CIFAR10", "best"] for way in ("softmax", "m = 4")]
    first, second = ({str(part): [run] for part, run in enumerate(way)} for way in ways)
    found = _tables.compared_by_part(first, second, METRICS["unseen"], own_images=True)
    assert found.difference == pytest.approx(10)


def test_rates_over_all_pairs_differ_over_seeds_alone(two_of_each):
    [(_, (_, (_, [_, margin])))] = _studies.problems(STUDY, two_of_each)
    # TAR 11, 13 and 17, 19: the means are 6 apart, each with a variance of 2 / 2; Welch's degrees of freedom are 2.
    half = students_t(2) * 2**0.5
    assert margin[4:] == [
        "18.00 ± 1.41 (2)",
        f"+6.00 [{6 - half:+.2f}, {6 + half:+.2f}]",
        "12.00 ± 1.41 (2)",
        f"-6.00 [{-6 - half:+.2f}, {-6 + half:+.2f}]",
    ]


def test_without_the_classes_the_difference_has_no_interval(two_of_each):
    for run in two_of_each["softmax", "CIFAR10", "best"]:
        del run["unseen"]["misses"]
    assert "| +10.00 |" in _studies.markdown(STUDY, two_of_each, "")


def test_over_a_setting_what_is_found_has_a_table_and_a_figure_of_its_own(two_of_each, tmp_path):
    rows = [{**row, "line": row["label"], "at": 0.1} for row in STUDY["rows"]]
    study = {**STUDY, "rows": rows, "over": "schedule.weight_decay"}
    text = _studies.markdown(study, two_of_each, "")
    assert "| unseen, recall at 1 over schedule.weight_decay | 0.1 |" in text and "| m = 4 | **55.00 ± 7.07** |" in text
    pytest.importorskip("matplotlib")
    from scripts import _figures

    drawn = {path.stem for path in _figures.write_study("any", tmp_path, study, two_of_each)}
    assert drawn == {"any_over_cifar10", "any_over_unseen_cifar10"}


def test_without_anything_measured_a_study_has_no_such_column(study, made_up):
    results = {("softmax", "CIFAR10", "best"): [made_up(study[0].settings)]}
    [(_, [_])] = _studies.problems(STUDY, results)
    assert "never seen" not in _studies.meaning(STUDY, results)


def test_what_was_measured_of_another_run_of_the_same_configuration_does_not_count(study, elsewhere, made_up):
    record = made_up(study[0].settings, test_error=7.0)
    _records.keep(record, _records.STUDIES)
    kept = _records.unseen(record)
    kept.parent.mkdir(parents=True)
    of = {key: record[key] for key in _records.SAME_RUN}
    for test_error, counts in ((7.0, True), (7.5, False)):
        kept.write_text(json.dumps({**of, "test_error": test_error, **measured([1, 1, 1], 10)}))
        [read] = _records.read_records(_records.STUDIES).values()
        assert ("unseen" in read) is counts


@pytest.mark.parametrize(
    "before", [{"test_error": 50.0, "misses": [1]}, {"test_error": 7.0}], ids=["other run", "older"]
)
def test_a_file_of_another_run_or_without_all_numbers_is_written_anew(
    study, elsewhere, run_of, cifar100, made_up, script, before
):
    record = made_up(study[0].settings, test_error=7.0)
    _records.keep(record, _records.STUDIES)
    folder = elsewhere / "runs" / "cifar10" / "by hand" / "seed=0"
    shutil.copytree(run_of((3, 32, 32), torch.full((3, 1, 1), 120.0), *CIFAR10), folder)
    (folder / "result.json").write_text(json.dumps(record))
    kept = _records.unseen(record)
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps({**{key: record[key] for key in _records.SAME_RUN}, "recall_at_1": 1.0, **before}))
    assert "1 runs" in script("unseen", "study=any").out
    found = json.loads(kept.read_text())
    assert found["test_error"] == 7.0 and len(found["misses"]) == 10


def test_weights_of_another_run_are_not_taken(study, elsewhere, run_of, cifar100, made_up, script):
    record = made_up(study[0].settings)
    _records.keep(record, _records.STUDIES)
    folder = elsewhere / "runs" / "cifar10" / "by hand" / "seed=0"
    shutil.copytree(run_of((3, 32, 32), torch.full((3, 1, 1), 120.0), *CIFAR10), folder)
    (folder / "result.json").write_text(json.dumps(record | {"test_error": 50.0}))
    for number, damaged in enumerate(["{", "[]", "{}"], start=1):
        (folder.parent / f"seed={number}").mkdir()
        (folder.parent / f"seed={number}" / "result.json").write_text(damaged)
    assert script("unseen", "study=any").code == 0
    assert not (elsewhere / "results" / "stability" / "unseen").exists()


@pytest.mark.parametrize(
    ("dataset", "classes", "has"), [("mnist", 0, False), ("cifar10", 0, True), ("cifar100", 20, True)]
)
def test_a_study_passes_over_runs_without_unseen_classes(dataset, classes, has):
    assert unseen._has_others(dataset, classes) == has
