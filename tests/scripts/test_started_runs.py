"""Rows whose runs start from another row's weights: what they are, and in which order they are made."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import reproduce

from configs.run_directory import default_directory
from configs.settings import ROOT, identity, identity_of
from lsoftmax.engine.folder import identity_sha256
from scripts import _records
from scripts._plan import figure_cells, read_profile, read_study

STUDY = {
    "columns": [{"label": "digits", "overrides": ["dataset=mnist5k"]}],
    "rows": [
        {"label": "softmax", "overrides": ["loss=softmax"]},
        {"label": "margin", "overrides": ["loss.m=2"], "from": "softmax"},
        {"label": "more", "overrides": ["loss.m=3"], "from": "softmax"},
    ],
}


@pytest.fixture
def wanted():
    return {cell.row: cell for cell in figure_cells(STUDY, {}, 1)}


def test_a_row_starts_from_the_run_of_the_same_seed_and_column():
    for cell in figure_cells(STUDY, {}, 2):
        if cell.row == "softmax":
            assert cell.start is None and cell.settings.init_from is None
        else:
            assert (cell.start.row, cell.start.column, cell.start.seed) == ("softmax", "digits", cell.seed)
            folder = default_directory(cell.start.settings, cell.start.overrides)
            assert folder.as_posix() == f"outputs/runs/mnist5k/loss=softmax/seed={cell.seed}"
            assert cell.settings.init_from == str(ROOT / folder) and cell.identity["init_from"] == folder.as_posix()


def test_of_a_study_over_a_setting_it_is_the_run_with_the_same_value():
    study = read_study("softmax_first")
    for cell in figure_cells(study, read_profile(study["profile"]), 1):
        if cell.start is not None:
            assert cell.start.settings.schedule.weight_decay == cell.settings.schedule.weight_decay
            assert cell.start.row == f"softmax, {cell.settings.schedule.weight_decay}"


def test_what_such_a_run_is_depends_on_no_machine(wanted):
    cell = wanted["margin"]
    assert cell.identity["init_from"] == default_directory(cell.start.settings, cell.start.overrides).as_posix()
    assert identity(replace(cell.settings, init_from="/elsewhere/run"))["init_from"] == "/elsewhere/run"


def test_options_are_checked_from_any_folder(wanted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reproduce._check_extra([wanted["margin"]], ["trainer=fast"])


def test_the_command_names_the_folder_from_wherever_one_stands(wanted):
    ((options, _),) = reproduce._commands([wanted["margin"]], [])
    assert f"init_from={ROOT}/outputs/runs/mnist5k/loss=softmax/seed=0" in options


@pytest.fixture
def made(script, trained, elsewhere, monkeypatch):
    """made(*rows) -> the losses of the runs that were made, in their order, with one of the study's seeds."""
    monkeypatch.setattr("scripts._plan._read", lambda *of: {**STUDY, "title": "", "text": "", **KEYS})

    def leaves(record):  # what a real run would: here the project's folder is another than the code's
        if record["init_from"] is not None:
            record["init_from"] = Path(record["init_from"]).relative_to(elsewhere.parent).as_posix()
            record["config_sha256"] = identity_sha256(identity_of(record))
        return record

    trained.leaves = leaves

    def study(*rows):
        before = len(trained)
        said = script("reproduce", "study=ways", f"rows={','.join(rows)}")
        assert said.code == 0, said.err
        return [next(item for item in options if item.startswith("loss")) for options in trained[before:]]

    return study


KEYS = {"metric": "test_error", "baseline": "softmax", "profile": "full", "seeds": 1}


def test_what_others_start_from_is_made_first_and_once(made):
    assert made("margin", "more") == ["loss=softmax", "loss.m=2", "loss.m=3"]


def test_its_record_is_kept_where_it_was_asked_for_alone(made, elsewhere):
    made("margin")
    kept = [record["loss"]["name"] for record in _records.read_records(*_records.sources("full")).values()]
    assert kept == ["lsoftmax"]


def test_weights_that_are_here_are_not_made_again(made, elsewhere):
    made("softmax")
    (elsewhere / "runs/mnist5k/loss=softmax/seed=0/model.safetensors").touch()
    assert made("margin") == ["loss.m=2"]


def test_weights_that_are_not_here_are_made_though_there_is_a_record(made, elsewhere):
    made("softmax")
    [record] = Path(elsewhere).rglob("runs/mnist5k*softmax*.json")
    before = json.loads(record.read_text())
    assert made("margin") == ["loss=softmax", "loss.m=2"]
    assert json.loads(record.read_text()) == before
