"""The tables' files: every row against the paper and the bare command, and what the small profile keeps."""

import json
from pathlib import Path

import numpy as np
import pytest

from configs.errors import ConfigError
from configs.settings import identity
from scripts import _plan
from scripts._plan import RECIPES, cells, own_note, read_profile, read_table

from .conftest import composed

TABLES = {"2": "table2_mnist_error", "3": "table3_cifar10_error", "4": "table4_cifar100_error"}
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "published_results.json").read_text())
LOSSES = {
    "Hinge Loss": ["loss=hinge"],
    "Softmax": ["loss=softmax"],
    **{f"L-Softmax (m={m})": ["loss=lsoftmax", f"loss.m={m}"] for m in (2, 3, 4)},
}
# What the recipe `paper` has beside its schedule: Caffe's default.
PAPERS = {"Hinge Loss": ["loss.norm=l1", "loss.class_reduction=sum"]}

PLACES = [
    (number, profile, column["label"], row["label"])
    for number in TABLES
    for profile in ("full", "small")
    for column in read_table(number)["columns"]
    for row in read_table(number)["rows"]
]


@pytest.fixture(scope="session")
def planned() -> dict:
    """(table, profile, column, row, recipe) -> its cell of seed 0; composing all of them is the point."""
    return {
        (number, profile, cell.column, cell.row, cell.recipe): cell
        for number in TABLES
        for profile in ("full", "small")
        for cell in cells(read_table(number), read_profile(profile), 1)
    }


def asked(column, row, recipe):
    """What one would type."""
    paper = [f"schedule={column.lower()}_paper", *PAPERS.get(row, [])] if recipe == "paper" else []
    return [f"dataset={column.lower()}", *LOSSES[row], *paper]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(("number", "profile", "column", "row"), PLACES)
def test_every_row_composes_to_its_data_set_and_loss(planned, number, profile, column, row, recipe):
    settings = planned[number, profile, column, row, recipe].settings
    assert settings.dataset.name == column.lower() and settings.seed == 0
    assert settings.loss == composed(asked(column, row, recipe)).loss


@pytest.mark.parametrize(("number", "profile", "column", "row"), [place for place in PLACES if place[1] == "full"])
def test_best_is_what_the_bare_command_runs(planned, number, profile, column, row):
    bare = composed(asked(column, row, "best"))
    assert planned[number, profile, column, row, "best"].identity == identity(bare)


@pytest.mark.parametrize(("number", "profile", "column", "row"), [place for place in PLACES if place[1] == "full"])
def test_paper_is_the_command_with_the_papers_schedule(planned, number, profile, column, row):
    paper = composed(asked(column, row, "paper"))
    assert planned[number, profile, column, row, "paper"].identity == identity(paper)


def test_no_run_of_the_small_profile_is_one_of_full_size(planned):
    kinds = {name: [c.identity for key, c in planned.items() if key[1] == name] for name in ("full", "small")}
    assert all(run not in kinds["full"] for run in kinds["small"])


@pytest.mark.parametrize("number", TABLES)
def test_the_methods_are_those_of_the_paper_in_its_order(number):
    table, paper = read_table(number), GOLDEN[TABLES[number]]
    labels = [row["label"].replace("(m=", "m=") for row in (*table["published"], *table["rows"])]
    assert len(labels) == len(paper)
    assert all(label.startswith(entry["method"]) for label, entry in zip(labels, paper, strict=True))


@pytest.mark.parametrize("number", TABLES)
def test_the_numbers_are_those_of_the_paper(number):
    table, paper = read_table(number), GOLDEN[TABLES[number]]
    columns = ["cifar10", "cifar10+"] if number == "3" else ["error"]
    for row, entry in zip((*table["published"], *table["rows"]), paper, strict=True):
        if not entry["doubt"]:
            assert row["numbers"] == [entry[column] for column in columns], row["label"]


@pytest.mark.parametrize("number", TABLES)
def test_every_row_has_a_number_or_null_for_every_column(number):
    table = read_table(number)
    assert {len(row["numbers"]) for row in (*table["published"], *table["rows"])} == {len(table["columns"])}


# The small profile keeps what decides between losses.

SMALL = ["mnist", "cifar10", "cifar10+", "cifar100"]


def schedules(dataset: str):
    overrides = [f"dataset={dataset}", f"schedule={dataset}_paper"]
    return composed(overrides).schedule, composed([*overrides, *read_profile("small")[dataset]]).schedule


def decay_over_the_run(schedule) -> float:
    """Sum of lr x weight decay, step by step."""
    drops = np.searchsorted(schedule.lr.milestones, np.arange(schedule.steps), side="right")
    return float((schedule.lr.base * schedule.lr.factor**drops).sum() * schedule.weight_decay)


def test_the_profile_knows_all_data_sets_of_the_tables():
    columns = [column["label"].lower() for number in TABLES for column in read_table(number)["columns"]]
    assert sorted(columns) == sorted(SMALL) and set(SMALL) <= set(read_profile("small"))


@pytest.mark.parametrize("dataset", SMALL)
def test_the_small_run_decays_the_weights_as_the_papers_does(dataset):
    paper, small = map(decay_over_the_run, schedules(dataset))
    assert paper == pytest.approx(0.62, abs=0.02) and small == pytest.approx(0.62, abs=0.02)


@pytest.mark.parametrize("dataset", SMALL)
def test_the_small_run_takes_75_to_95_epochs(dataset):
    settings = composed([f"dataset={dataset}", *read_profile("small")[dataset]])
    assert 75 <= settings.schedule.steps * settings.schedule.batch_size / settings.dataset.train_images <= 95


@pytest.mark.parametrize("dataset", SMALL)
def test_the_small_runs_rate_drops_at_the_same_parts_of_the_run(dataset):
    paper, small = ([step / schedule.steps for step in schedule.lr.milestones] for schedule in schedules(dataset))
    assert small == pytest.approx(paper, abs=1e-3)


@pytest.mark.parametrize("dataset", SMALL)
def test_the_small_runs_lambda_is_the_authors_stretched_to_its_steps(dataset):
    paper, small = (schedule.lam.gamma * schedule.steps for schedule in schedules(dataset))
    assert small == pytest.approx(paper, rel=1e-3)


@pytest.mark.parametrize(
    ("before", "after", "part"),
    [
        ("paper: [loss.", "papr: [loss.", "unknown key papr; a table's row has label, overrides, numbers, paper"),
        ("overrides: [dataset=cifar10]", "overides: [dataset=cifar10]", "unknown key overides; a table's column"),
        ("metric: ", "metrics: ", "unknown key metrics; a table has title, metric"),
        ("title: ", "# ", "a table needs title"),
        ("columns:", "columns:\n  - cifar10", "a table's column must be keys and values, got 'cifar10'"),
        ("columns:", "columns: [", "cannot be read: while parsing"),
    ],
)
def test_a_mistake_in_a_tables_file_is_one_line_that_names_it(before, after, part, monkeypatch, tmp_path):
    text = (_plan.ROOT / "configs" / "table" / "3.yaml").read_text()
    assert before in text
    (tmp_path / "configs" / "table").mkdir(parents=True)
    (tmp_path / "configs" / "table" / "3.yaml").write_text(text.replace(before, after, 1))
    monkeypatch.setattr(_plan, "ROOT", tmp_path)
    with pytest.raises(ConfigError, match="^configs/table/3.yaml") as said:
        read_table("3")
    assert part in str(said.value) and "\n" not in str(said.value)


@pytest.mark.parametrize("text", ["", "- a", "text"])
def test_a_file_without_keys_is_one_line(text, monkeypatch, tmp_path):
    (tmp_path / "configs" / "profile").mkdir(parents=True)
    (tmp_path / "configs" / "profile" / "mine.yaml").write_text(text)
    monkeypatch.setattr(_plan, "ROOT", tmp_path)
    with pytest.raises(ConfigError, match="^configs/profile/mine.yaml must hold keys and values$"):
        read_profile("mine")


def test_a_columns_then_comes_after_the_profile_and_a_rows_paper_after_its_overrides():
    column = {"label": "Ones", "overrides": ["dataset=mnist5k"], "then": ["schedule.steps=9"]}
    row = {"label": "Ours", "overrides": ["loss.m=2"], "paper": ["loss.m=3"]}
    profile = {"mnist5k": ["schedule.steps=5", "schedule.lr.milestones=[]"]}
    paper, best = (cell.settings for cell in cells({"rows": [row], "columns": [column]}, profile, 1))
    assert (paper.schedule.steps, paper.loss.m, best.loss.m) == (9, 3, 2)


@pytest.mark.parametrize(("profile", "said"), [("full", "All. Whole."), ("small", "All. Part.")])
def test_a_table_says_what_its_file_says_of_its_size(profile, said):
    assert own_note({"note": "All.", "full": "Whole", "reduced": "Part"}, profile) == said
