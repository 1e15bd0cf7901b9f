"""scripts/reproduce.py: studies and figures."""

import pytest

from scripts import _figures, _records
from scripts._plan import read_study

# Studies.


def test_a_study_runs_its_rows_and_is_written(script, trained, elsewhere):
    said = script("reproduce", "study=ways")
    assert said.code == 0 and "study    outputs/results/stability/ways.md" in said.out
    assert len(trained) == len(read_study("ways")["rows"]) == len(_records.read_records("stability"))
    assert "not run" not in (elsewhere / "results" / "stability" / "ways.md").read_text()


def test_a_study_has_its_own_number_of_seeds(script, trained):
    script("reproduce", "study=ways", "seeds=2")
    assert len(trained) == 2 * len(read_study("ways")["rows"])


def test_rows_of_a_study_that_are_not_asked_for_are_shown_all_the_same(script, trained, elsewhere):
    script("reproduce", "study=ways", "rows=softmax")
    script("reproduce", "study=ways", "rows=power")
    assert len(trained) == 2
    text = (elsewhere / "results" / "stability" / "ways.md").read_text()
    assert text.count("| 1 finished |") == 2 and text.count("| not run |") == len(read_study("ways")["rows"]) - 2


def test_a_run_of_the_small_tables_counts_in_a_study(script, trained, elsewhere):
    script("reproduce", "study=ways")
    moved = elsewhere / "results" / "small" / "runs"
    moved.parent.mkdir()
    (elsewhere / "results" / "stability" / "runs").rename(moved)
    trained.clear()
    assert "0 runs missing" in script("reproduce", "study=ways").out and trained == []


def test_a_study_can_be_checked_in_seconds(script, trained, elsewhere):
    assert script("reproduce", "study=ways", "profile=tiny").code == 0
    assert (elsewhere / "small_check" / "ways.csv").exists() and not (elsewhere / "results").exists()
    assert all("schedule.steps=40" in options for options in trained)


@pytest.mark.parametrize(("study", "table", "missing"), [("full", "3", 4), ("full_cifar100", "4", 7)])
def test_a_study_of_the_full_size_shares_its_runs_with_the_table(script, trained, elsewhere, study, table, missing):
    script("reproduce", f"table={table}", "seeds=1")
    said = script("reproduce", f"study={study}", "seeds=1")
    assert f"{missing} runs missing" in said.out and (elsewhere / "results" / "stability" / f"{study}.md").exists()
    assert not (elsewhere / "results" / "stability" / "runs").exists()
    assert len(list((elsewhere / "results" / "runs").glob("*.json"))) == len(trained)


# Figures.

DRAWN = ["figure=6", "seeds=1"]


def test_a_figure_of_runs_that_are_not_there_is_not_drawn(script, trained, elsewhere):
    said = script("reproduce", "figure=6", "train=false")
    assert said.code == 0 and "not drawn: no run has been made yet" in said.out
    assert not (elsewhere / "results" / "figures").exists()


def test_a_figure_in_the_papers_recipe_has_runs_of_its_own(script, trained):
    said = script("reproduce", "figure=5", "seeds=1", "recipes=paper", "rows=m=4", "columns=cifar10+")
    assert said.out.count("record ") == 1 and "schedule=cifar10+_paper" in trained[0]


def test_a_figure_runs_its_rows_and_is_drawn(script, trained, elsewhere):
    said = script("reproduce", *DRAWN)
    assert said.code == 0 and len(trained) == 4 and "figure   outputs/results/figures/figure6.png" in said.out
    assert {path.suffix for path in (elsewhere / "results" / "figures").iterdir()} == {".png", ".svg"}


def test_a_figure_has_curves_that_are_not_asked_for_too(script, trained, elsewhere, monkeypatch):
    seen = []
    monkeypatch.setattr(
        _figures, "write", lambda name, profile, plan, wanted, records: seen.append(wanted) or elsewhere / "any"
    )
    script("reproduce", *DRAWN, "rows=softmax")
    assert len(trained) == 1 and len(seen[0]) == 4


def test_a_figure_uses_the_runs_of_its_table(script, trained):
    script("reproduce", "table=4", "seeds=1")
    trained.clear()
    assert "0 runs missing" in script("reproduce", *DRAWN).out and trained == []


def test_a_figure_of_formulas_is_drawn_without_a_run(script, trained, elsewhere):
    assert script("reproduce", "figure=psi").code == 0 and trained == []
    assert (elsewhere / "results" / "figures" / "psi.svg").exists()


def test_without_training_a_figure_is_drawn_of_the_records_there_are(script, trained, elsewhere):
    script("reproduce", *DRAWN, "rows=softmax")
    trained.clear()
    (elsewhere / "results" / "figures" / "figure6.png").unlink()
    assert script("reproduce", *DRAWN, "train=false").code == 0 and trained == []
    assert (elsewhere / "results" / "figures" / "figure6.png").exists()


def test_a_figure_that_shows_features_runs_again_what_has_none(script, trained):
    script("reproduce", "figure=2", "seeds=2")
    trained.clear()
    said = script(
        "reproduce", "figure=2", "seeds=2"
    )  # the made-up runs leave no weights, and the second seed is not shown
    assert "4 runs missing" in said.out and all("seed=0" in options for options in trained)


def test_a_figure_shows_features_that_were_kept(script, trained, elsewhere, monkeypatch):
    import numpy as np

    def measure(run, what):
        names = [f"{part}_{kind}" for part in what["sets"] for kind in ("features", "labels")]
        return {name: np.ones((10, 2) if "features" in name else 10, np.uint8) for name in names}

    monkeypatch.setattr("scripts._features.is_run_of", lambda run, record: True)
    monkeypatch.setattr("scripts._features._measure", measure)
    assert script("reproduce", "figure=2", "seeds=1").out.count("features outputs/results/runs/") == 4
    assert "0 runs missing" in script("reproduce", "figure=2", "seeds=1", "dry_run=true").out


def test_a_run_of_a_table_keeps_the_features_that_a_figure_shows(script, trained, monkeypatch):
    kept = []
    monkeypatch.setattr("scripts._features.keep", lambda run, record, what, profile: kept.append(record["loss"]))
    script("reproduce", "table=4", "seeds=2")
    assert [(loss["name"], loss.get("m")) for loss in kept] == [("softmax", None), ("lsoftmax", 4)]


def test_without_matplotlib_a_figure_is_one_line_and_its_records_are_kept(script, trained, elsewhere, monkeypatch):
    monkeypatch.setattr("scripts._figures.can_draw", lambda: False)
    said = script("reproduce", *DRAWN)
    assert said.code == 0 and said.out.count("matplotlib is missing") == 1
    assert len(_records.read_records("full")) == 4 and not (elsewhere / "results" / "figures").exists()
