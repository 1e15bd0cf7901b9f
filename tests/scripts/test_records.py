"""The records of finished runs: where they lie, on which data they are, what became of a run."""

import json
import os
import re

import pytest

import data
from configs.settings import compose, identity
from lsoftmax.engine.collapse import ENOUGH
from lsoftmax.engine.folder import identity_sha256
from lsoftmax.errors import UserError
from scripts import _known_data, _records, _tables
from scripts._known_data import expected_sha256
from scripts._plan import cells, read_table

from .conftest import DIVERGED


def test_a_kept_record_reads_back_the_same(runs):
    [(key, record)] = runs("L-Softmax (m=4)", {"wrong": [3, 7]}).items()
    path = _records.keep(record, "full")
    assert path.parent == _records.folder("full") and _records.read_records("full") == {key: record}


@pytest.mark.parametrize("name", ["0", "z"])
def test_of_two_records_of_a_run_the_one_with_today_s_hash_counts(runs, name):
    [(key, record)] = runs("Softmax", {}).items()
    path = _records.keep(record, "full")
    path.with_name(f"{name}.json").write_text(json.dumps(record | {"config_sha256": "of old", "test_error": 99.0}))
    assert _records.read_records("full") == {key: record}


def test_a_record_of_a_profile_lies_apart(runs):
    [record] = runs("Softmax", {}).values()
    _records.keep(record, "small")
    assert _records.read_records("full") == {} and len(_records.read_records("small")) == 1


def test_of_a_run_in_two_profiles_the_record_of_the_later_counts(runs):
    [(key, record)] = runs("Softmax", {}).items()
    _records.keep(record, "full")
    _records.keep(record | {"seconds": 9.0}, "small")
    assert _records.read_records("full", "small") == {key: record | {"seconds": 9.0}}


@pytest.mark.parametrize("content", [b"", b"<<<<<<< ours\n{}", b"[1, 2]", b"\xff\xfe"])
def test_a_damaged_record_is_named(runs, content):
    [record] = runs("Softmax", {}).values()
    path = _records.keep(record, "full")
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path.name}: not a run's record"):
        _records.read_records("full")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": None}, "status is None"),
        ({"curve": ...}, "curve is missing"),
        ({"test_error": "9.05"}, "test_error is '9.05'"),
        ({"loss": {"m": 4}}, "its data set or loss has no name"),
        ({"loss": {"name": "mine"}}, "'mine' is not known"),
        ({"schedule": 3}, "schedule is 3"),
        ({"threads": ...}, "threads is missing"),
        ({"train_error": None}, "finished, and train_error is None"),
        ({"predicted_classes": None}, "finished, and predicted_classes is None"),
        ({"model": ...}, "model is missing"),
        ({"init_from": ...}, "'init_from' is not known"),
    ],
)
def test_what_is_no_record_is_said(runs, change, said):
    [record] = runs("Softmax", {}).values()
    path = _records.keep(record, "full")
    path.write_text(json.dumps({key: value for key, value in (record | change).items() if value is not ...}))
    with pytest.raises(UserError, match=re.escape(f"{path}: not a run's record ({said}); restore it or delete it")):
        _records.read_records("full")


def test_damaged_numbers_of_unseen_classes_are_named(runs):
    [record] = runs("Softmax", {}).values()
    _records.keep(record, "full")
    _records.unseen(record).parent.mkdir(parents=True)
    _records.unseen(record).write_text("<<<<<<< ours")
    with pytest.raises(UserError, match="unseen.*not a run's record"):
        _records.read_records("full")


def test_every_run_of_a_table_has_a_file_of_its_own(wanted, made_up):
    runs = {identity_sha256(cell.identity): made_up(cell.settings) for cell in wanted}
    assert len({_records.keep(record, "full") for record in runs.values()}) == len(runs)


def test_the_same_run_kept_twice_is_one_file(runs):
    [record] = runs("Softmax", {}).values()
    assert _records.keep(record, "full") == _records.keep(record, "full")


@pytest.mark.parametrize(("known", "counts"), [(True, 1), (False, 0)])
def test_of_a_known_data_set_no_majority_of_others_counts(elsewhere, made_up, known, counts):
    wanted = [cell for cell in cells(read_table("2"), {}, 3, ("best",)) if cell.row == "Softmax"]
    shas = [{"dataset_sha256": "e" * 64}] * 2 + [{} if known else {"dataset_sha256": "e" * 64}]
    runs = [made_up(cell.settings, **sha) for cell, sha in zip(wanted, shas, strict=True)]
    results = _tables.collect(wanted, {run["config_sha256"]: run for run in runs})
    assert len(results["Softmax", "MNIST", "best"]) == counts


@pytest.mark.parametrize("validation", [0, 5000])
def test_augmentation_changes_no_data_and_a_validation_split_does(validation):
    plain, plus = (
        identity(compose([f"dataset={name}", f"dataset.validation={validation}"])) for name in ("cifar10", "cifar10+")
    )
    known = expected_sha256(plain["dataset"])
    assert known == expected_sha256(plus["dataset"]) and (known is None) == (validation > 0)


@pytest.mark.parametrize("other", [{"train_part": 1}, {"first_class": 5}, {"validation": 9}])
def test_of_other_images_of_a_known_data_set_nothing_is_known(other):
    dataset = identity(compose(["dataset=cifar10", "dataset.train_images=5000"]))["dataset"]
    assert expected_sha256(dataset) is not None and expected_sha256(dataset | other) is None


@pytest.mark.slow
@pytest.mark.parametrize("key", _known_data._SHA256, ids=str)
def test_the_known_digests_are_those_of_the_published_files(key):
    root = os.environ.get("LSOFTMAX_DATA")
    if root is None:
        pytest.skip("LSOFTMAX_DATA is not set")
    name, images, classes = key
    splits = data.load(name, root, download=False, train_images=images, classes=classes)
    assert splits.sha256() == _known_data._SHA256[key]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, "finished"),
        (DIVERGED, "diverged"),
        ({"divergences": [{"step": 40, "floor": 0.5}]}, "diverged"),
        ({"predicted_classes": 1}, "collapsed"),
        ({"predicted_classes": 2}, "finished"),
        ({"predicted_classes": 9, "test_images": 199}, "finished"),
        ({"predicted_classes": 9, "test_images": 200}, "collapsed"),
        ({"predicted_classes": 10, "test_images": 200}, "finished"),
        ({"train_error": 45.1}, "collapsed"),
        ({"train_error": 44.9}, "finished"),
        ({"train_error": 46.0, "num_classes": 100}, "finished"),
    ],
    ids=[
        "",
        "status",
        "rescued",
        "1 class",
        "2 classes",
        "few images",
        "class given up",
        "all classes",
        "above",
        "below",
        "100 classes",
    ],
)
def test_the_verdict_is(runs, change, word):
    [record] = runs("Softmax", change).values()
    assert _records.verdict(record) == word


@pytest.mark.parametrize(("error", "word"), [(24.0, "finished"), (24.1, "collapsed"), (60.0, "collapsed")])
def test_a_run_that_learned_far_less_than_softmax_is_collapsed(runs, error, word):
    softmax = list(runs("Softmax", {"train_error": 4.0}, {"train_error": 8.0}, DIVERGED).values())
    [record] = runs("L-Softmax (m=4)", {"train_error": error}).values()
    assert _records.verdict(record, softmax) == word  # 1.5 x 6 + 15, of the runs that have a number


def test_the_tables_say_the_rule_by_which_a_run_is_collapsed():
    assert f"(of sets with {ENOUGH} test images a class)" in _records.UNLEARNED


def test_chance_still_counts_where_softmax_learned_nothing(runs):
    softmax = list(runs("Softmax", {"train_error": 80.0}).values())
    [record] = runs("L-Softmax (m=4)", {"train_error": 46.0}).values()
    assert _records.verdict(record, softmax) == "collapsed"
