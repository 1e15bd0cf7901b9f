"""scripts/reproduce.py: what runs, what is skipped, what is left when it is stopped, and what it says."""

import re
import subprocess
import sys

import pytest
import reproduce

from configs.run_directory import run_directory
from configs.settings import ROOT, compose, identity
from lsoftmax.engine.folder import identity_sha256
from scripts import _hparams, _records
from scripts._plan import cells, read_table

ONCE = ["table=2", "seeds=1"]


# The whole command, with runs that are made up at once.


@pytest.fixture
def hinge(elsewhere) -> int:
    """How many of them are the hinge loss's."""
    wanted = [cell for cell in cells(read_table("2"), {}, 1) if cell.row == "Hinge Loss"]
    return len({identity_sha256(cell.identity) for cell in wanted})


@pytest.fixture
def filled(script, trained):
    """Table 2, with one run of each row."""
    said = script("reproduce", *ONCE)
    assert said.code == 0
    return said


def test_recipes_that_are_the_same_run_are_run_once(filled, trained, elsewhere):
    wanted = {identity_sha256(cell.identity) for cell in cells(read_table("2"), {}, 1)}
    assert len(trained) == len(wanted) and set(_records.read_records("full")) == wanted


def test_it_leaves_a_record_of_every_run(filled, trained, elsewhere):
    assert len(list((elsewhere / "results" / "runs").glob("*.json"))) == len(trained)


def test_it_writes_both_forms_of_the_table(filled, elsewhere):
    text = (elsewhere / "results" / "table2.md").read_text()
    assert "| 2.00 (1) |" in text and "not run" not in text and "reproduce.py table=2`" in text
    assert (elsewhere / "results" / "table2.csv").read_text().count(",2.0,,1,1,") == 10


def test_it_says_where_records_and_table_lie(filled, trained):
    assert filled.out.count("record   outputs/results/runs/mnist_") == len(trained)
    assert "table    outputs/results/table2.md" in filled.out


def test_a_record_on_other_data_is_said(script, made_up, elsewhere):
    for cell in cells(read_table("2"), {}, 3, ("best",)):
        if cell.row == "Softmax":
            _records.keep(made_up(cell.settings, **({} if cell.seed else {"dataset_sha256": "e" * 64})), "full")
    said = script("reproduce", "table=2", "rows=softmax", "recipes=best", "train=false").out
    assert "0 runs missing\n  1 runs have a record on other data, which does not count: delete it and" in said


def test_what_is_done_is_not_run_again(filled, script, trained):
    trained.clear()
    assert "0 runs missing" in script("reproduce", *ONCE).out and trained == []


def test_more_seeds_run_the_new_ones_alone(filled, script, trained, count):
    trained.clear()
    script("reproduce", "table=2", "seeds=2")
    assert len(trained) == count and all("seed=1" in options for options in trained)


def test_a_lost_record_is_run_again(filled, script, trained, elsewhere):
    next((elsewhere / "results" / "runs").glob("*hinge*")).unlink()
    trained.clear()
    script("reproduce", *ONCE)
    assert ["loss=hinge" in options for options in trained] == [True]


def test_a_run_lies_where_the_bare_command_puts_it(filled, trained):
    bare = run_directory(compose(["dataset=mnist", "loss.m=4"]), ["dataset=mnist", "loss.m=4"])
    assert [options for options in trained if f"run_dir={bare}" in options]


def test_the_first_seed_of_all_rows_comes_first(script, trained, count):
    script("reproduce", "table=2", "seeds=2")
    seeds = [option for options in trained for option in options if option.startswith("seed=")]
    assert seeds == ["seed=0"] * count + ["seed=1"] * count


def test_further_options_go_to_every_run(script, trained, count):
    script("reproduce", *ONCE, "device=cpu", "trainer.log_every=7")
    assert len(trained) == count and all({"device=cpu", "trainer.log_every=7"} <= set(options) for options in trained)


def test_a_run_that_leaves_nothing_is_missing_the_next_time(script, trained, elsewhere, count, hinge):
    trained.leaves = lambda record: None if record["loss"]["name"] == "hinge" else record
    said = script("reproduce", *ONCE)
    assert said.code == 2 and f"{hinge} of the runs failed" in said.err
    assert len(_records.read_records("full")) == count - hinge
    assert "not run" in (elsewhere / "results" / "table2.md").read_text()
    assert f"{hinge} runs missing" in script("reproduce", *ONCE, "dry_run=true").out


def test_a_diverged_run_is_kept_and_not_run_again(script, trained, elsewhere):
    ended = {"status": "diverged", "test_error": None, "train_error": None, "wrong": None, "predicted_classes": None}
    trained.leaves = lambda record: record | ended
    script("reproduce", *ONCE)
    assert "no number; 1 diverged" in (elsewhere / "results" / "table2.md").read_text()
    assert "0 runs missing" in script("reproduce", *ONCE, "dry_run=true").out


def test_a_spent_budget_writes_the_table_of_what_there_is(script, trained, elsewhere):
    assert script("reproduce", *ONCE, "budget_minutes=0").code == 0 and trained == []
    assert "not run" in (elsewhere / "results" / "table2.md").read_text()


def test_the_small_profile_lies_apart_and_says_what_it_is(script, trained, elsewhere):
    script("reproduce", *ONCE, "profile=small")
    assert sorted(path.name for path in (elsewhere / "results").iterdir()) == ["small"]
    text = (elsewhere / "results" / "small" / "table2.md").read_text()
    assert "Reduced form `small`" in text and "table=2 profile=small`" in text


def test_small_runs_fill_no_row_of_full_size(script, trained, count):
    script("reproduce", *ONCE, "profile=small")
    assert f"{count} runs missing" in script("reproduce", *ONCE, "dry_run=true").out


def labels_of(said: str) -> list[str]:
    """Column, row and seed of the runs that are listed, in their order."""
    return [re.sub(r" {2,}", " | ", line.strip()) for line in said.splitlines() if "seed=" in line]


@pytest.mark.parametrize("rows", ["softmax,m=4", "SOFTMAX,L-Softmax(m=4)", "Softmax, (M = 4)"])
def test_rows_are_run_in_the_order_that_is_asked_for(script, trained, elsewhere, rows):
    said = script("reproduce", "table=2", "seeds=2", "dry_run=true", f"rows={rows}").out
    assert [line.split(" | ")[1] for line in labels_of(said)] == ["Softmax", "L-Softmax (m=4)"] * 2
    said = script("reproduce", "table=2", "seeds=2", "dry_run=true", "rows=m=4,m=2,softmax").out
    assert [line.split(" | ")[1] for line in labels_of(said)][:3] == ["L-Softmax (m=4)", "L-Softmax (m=2)", "Softmax"]


def test_a_column_is_known_by_its_whole_label_first(script, trained, elsewhere):
    said = script("reproduce", "table=3", "seeds=1", "dry_run=true", "columns=cifar10", "rows=softmax").out
    assert [line.split(" | ")[0] for line in labels_of(said)] == ["CIFAR10"]
    said = script("reproduce", "table=3", "seeds=1", "dry_run=true", "columns=cifar10+,cifar10", "rows=softmax").out
    assert [line.split(" | ")[0] for line in labels_of(said)] == ["CIFAR10+", "CIFAR10"]


def test_recipes_are_run_that_are_asked_for(script, trained, elsewhere):
    options = ["table=3", "seeds=1", "dry_run=true", "columns=cifar10", "rows=m=4"]
    recipes = {
        asked: [line.split()[-4] for line in script("reproduce", *options, *asked).out.splitlines()[1:]]
        for asked in [(), ("recipes=best",), ("recipes=paper",), ("recipes=best,paper",)]
    }
    assert list(recipes.values()) == [["paper", "best"], ["best"], ["paper"], ["best", "paper"]]


def test_a_row_whose_label_has_commas_is_known_by_it(script, trained, elsewhere):
    label = "adaptive 0.7, floor 1, norms live"
    said = script("reproduce", "study=ways", "dry_run=true", f"rows={label}").out
    assert "1 cells" in said and [line.split(" | ")[1].startswith(label) for line in labels_of(said)] == [True]


def test_rows_that_are_not_asked_for_are_shown_all_the_same(script, trained, elsewhere):
    script("reproduce", *ONCE, "rows=hinge")
    assert all("loss=hinge" in options for options in trained)
    text = (elsewhere / "results" / "table2.md").read_text()
    assert "2.00 (1)" in text and "not run" in text and "L-Softmax (m=4)" in text


def test_dry_run_lists_what_is_missing(script, trained, count):
    said = script("reproduce", *ONCE, "dry_run=true")
    assert f"10 cells, {count} runs missing" in said.out and said.out.count("seed=0") == count
    assert all(row["label"] in said.out for row in read_table("2")["rows"])


@pytest.mark.parametrize("value", ["true", "True"])
def test_dry_run_starts_and_writes_nothing(script, trained, elsewhere, value):
    script("reproduce", *ONCE, f"dry_run={value}")
    assert trained == [] and not elsewhere.exists()


@pytest.mark.parametrize("value", ["false", "False"])
def test_without_training_the_table_is_written_from_the_records(filled, script, trained, elsewhere, value):
    (elsewhere / "results" / "table2.md").unlink()
    trained.clear()
    assert script("reproduce", "table=2", "seeds=2", f"train={value}").code == 0 and trained == []
    assert "2.00 (1)" in (elsewhere / "results" / "table2.md").read_text()


def test_without_records_the_table_is_all_not_run(script, trained, elsewhere):
    assert script("reproduce", *ONCE, "train=false").code == 0
    text = (elsewhere / "results" / "table2.md").read_text()
    assert text.count("not run") == 10 and "No run of this table has been made yet." in text


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ([], "say which one"),
        ([*ONCE, "figure=2"], "say which one"),
        (["figure=3"], "figure=3: there is no such figure; choose one of 2, 4, 5, 6, 7, lr_lambda, psi"),
        (["figure=psi", "device=cpu"], "nothing to run"),
        (["table=9"], "table=9: there is no such table; choose one of 2, 3, 4"),
        (["table="], "choose one of 2, 3, 4"),
        ([*ONCE, "profile=x"], "profile=x: there is no such profile; choose one of full, small"),
        (["table=2", "seeds=0"], "seeds must be an integer >= 1, got '0'"),
        (["table=2", "seeds=two"], "seeds must be an integer >= 1, got 'two'"),
        ([*ONCE, "parallel=0"], "parallel must be an integer >= 1, got '0'"),
        ([*ONCE, "budget_minutes=abc"], "budget_minutes"),
        ([*ONCE, "budget_minutes=nan"], "budget_minutes"),
        ([*ONCE, "dry_run=maybe"], "dry_run"),
        ([*ONCE, "train=maybe"], "train"),
        ([*ONCE, "rows=m=5"], "rows=m=5: no label is like it; there are Hinge Loss; Softmax; L-Softmax (m=2)"),
        ([*ONCE, "rows=softmax,"], "rows=: no label is like it"),
        ([*ONCE, "columns=cifar"], "columns=cifar: no label is like it; there are MNIST"),
        (["figure=psi", "rows=x"], "rows=x: no label is like it; there are none"),
        (["figure=6", "recipes=paper"], "recipes=paper: figure=6 is drawn in best"),
        (["figure=5", "recipes=both"], "recipes=both: figure=5 is drawn in best or paper"),
        ([*ONCE, "nonsense"], "key=value"),
        ([*ONCE, "run_dir=/tmp/x"], "run_dir=: each run has a folder of its own"),
        (["study=ways", "profile=full"], "profile=full: study=ways has a size of its own (small)"),
        ([*ONCE, "trainer.log_evry=5"], "trainer.log_every"),
        ([*ONCE, "seed=5"], "seed"),
        ([*ONCE, "schedule.steps=9"], "schedule.steps"),
        (
            [*ONCE, "schedule.lam.minimum=5"],
            "schedule.lam.minimum=5: these would make other runs",
        ),  # hinge takes no notice
        ([*ONCE, "schedule.gradient=norms_live"], "schedule.gradient=norms_live: these would make other runs"),
    ],
    ids=lambda value: value[-1] if value and isinstance(value, list) else "",
)
def test_a_wrong_option_is_one_line_and_starts_nothing(script, trained, elsewhere, options, part):
    said = script("reproduce", *options)
    assert said.code == 2 and said.err.startswith("error: ") and part in said.err and said.err.count("\n") == 1
    assert trained == [] and not elsewhere.exists()


BARE = """
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in "matplotlib mlxtend torchvision safetensors pandas scipy sklearn".split():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
sys.path.insert(0, "scripts")
import importlib.util
found = importlib.util.find_spec
def find_spec(name, *more):
    return None if name == "matplotlib" else found(name, *more)
importlib.util.find_spec = find_spec
import reproduce
from pathlib import Path
from scripts import _hparams, _records
for module in (reproduce, _hparams, _records):
    module.ROOT = Path(sys.argv[1])
reproduce.reproduce(["table=2", "seeds=1", "train=false"])
reproduce.reproduce(["figure=2", "seeds=1", "train=false"])
"""


def test_a_bare_environment_writes_tables_and_skips_figures_in_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BARE, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "table    outputs/results/table2.md" in done.stdout
    assert done.stdout.count("matplotlib is missing") == 1


def test_records_are_shown_in_tensorboard_once(filled, script, elsewhere):
    entries = sorted((elsewhere / "runs" / "hparams" / "full").iterdir())
    stems = sorted(map(_records.stem, _records.read_records("full").values()))
    assert len(entries) == len(stems)
    assert all(path.name.startswith(stem) for path, stem in zip(entries, stems, strict=True))
    script("reproduce", *ONCE)
    assert all(len(list(entry.iterdir())) == 1 for entry in entries)


def test_help_says_what_it_is_for(script):
    said = script("reproduce", "-h")
    assert said.code == 0 and all(f"{key}=" in said.out for key in reproduce.OWN)


def test_real_runs_fill_a_table(script, elsewhere, monkeypatch):
    tiny = ["dataset=mnist5k", "debug=smoke", "schedule.steps=2", "schedule.lr.milestones=[]"]
    column = {"label": "Digits", "overrides": tiny, "paper": []}
    rows = [{"label": "Softmax", "overrides": ["loss=softmax"], "numbers": [50]}]
    table = {"title": "T", "metric": "test_error", "columns": [column], "published": [], "rows": rows}
    monkeypatch.setattr(reproduce, "read_table", lambda number: table)
    assert script("reproduce", *ONCE, "device=cpu").code == 0
    [record] = _records.read_records("full").values()
    assert record["config_sha256"] == identity_sha256(identity(compose([*tiny, "loss=softmax"])))
    assert f"| {record['test_error']:.2f} (1" in (elsewhere / "results" / "table2.md").read_text()


def test_tensorboard_shows_a_run_that_was_made_again_anew(filled, elsewhere):
    [key, record] = next(iter(_records.read_records("full").items()))
    folder = _hparams.write({key: record | {"test_error": 77.25}}, "full")
    [entry] = folder.glob(f"{_records.stem(record)}*")
    assert "77.25" in entry.name and len(list(entry.iterdir())) == 1
