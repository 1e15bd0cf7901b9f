"""The figures' files: what they ask for composes, and is what the paper shows."""

import json
from pathlib import Path

import numpy as np
import pytest

from configs.settings import compose, identity
from lsoftmax.engine.folder import identity_sha256
from scripts import _features
from scripts._plan import cells, figure_cells, figure_recipes, names, read_figure, read_profile, read_table
from scripts.figures import style

from .conftest import FIGURES_OF_RUNS, PROFILES, composed, of

FORMULAS = ["psi", "4", "lr_lambda"]


def test_every_figure_is_one_of_the_two_kinds():
    assert sorted(names("figure")) == sorted([*FIGURES_OF_RUNS, *FORMULAS])


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", FIGURES_OF_RUNS)
def test_every_row_of_every_column_composes(planned, name, profile):
    plan = read_figure(name)
    assert len(of(planned, name, profile)) == len(plan["rows"]) * len(plan["columns"])


@pytest.mark.parametrize("name", FORMULAS)
def test_a_figure_of_formulas_asks_for_no_run(name):
    assert figure_cells(read_figure(name), read_profile("small"), 3) == []


def test_the_schedules_of_lr_lambda_compose_to_section_5_1():
    for schedule in read_figure("lr_lambda")["schedules"]:
        assert composed(schedule["overrides"]).schedule.lr.milestones == [12000, 15000]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", ["2", "6"])
def test_rows_are_softmax_and_the_margins_2_to_4(planned, name, profile):
    losses = [cell.settings.loss for cell in of(planned, name, profile)]
    assert [(loss.name, getattr(loss, "m", 1)) for loss in losses] == [
        ("softmax", 1),
        *(("lsoftmax", m) for m in (2, 3, 4)),
    ]


def test_figure_2_has_two_features(planned):
    assert {cell.settings.model.name for key, cell in planned.items() if key[0] == "2"} == {"mnist_2d"}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("name", "tables"), [("6", ["4"]), ("5", ["3", "4"])])
def test_figures_5_and_6_are_runs_of_the_tables(planned, name, tables, profile):
    filled = [cell.identity for n in tables for cell in cells(read_table(n), read_profile(profile), 1, ("best",))]
    assert all(cell.identity in filled for cell in of(planned, name, profile))


@pytest.mark.parametrize("profile", PROFILES)
def test_figure_7_widens_the_network_of_m_4(planned, profile):
    runs = of(planned, "7", profile)
    filters = [cell.settings.model.filters for cell in runs]
    assert {cell.settings.loss.m for cell in runs} == {4} and filters[0] == [32, 32, 64, 128]
    assert all(
        a < b for narrow, wide in zip(filters, filters[1:], strict=False) for a, b in zip(narrow, wide, strict=True)
    )
    assert [cell.row for cell in runs] == ["/".join(map(str, filters)) for filters in filters]


def test_the_accuracies_of_figure_2_are_the_papers():
    golden = json.loads((Path(__file__).parents[1] / "golden" / "published_results.json").read_text())
    ours = [(style.margin(row["label"]), row["accuracy"]) for row in read_figure("2")["rows"]]
    assert ours == [(entry["m"], entry["accuracy"]) for entry in golden["figure2_test_accuracy"]]


@pytest.mark.parametrize("name", FIGURES_OF_RUNS)
def test_no_run_of_a_profile_is_one_of_another(planned, name):
    shas = [{identity_sha256(cell.identity) for cell in of(planned, name, profile)} for profile in PROFILES]
    assert len(set.union(*shas)) == sum(map(len, shas))


def test_the_small_figure_2_decays_the_weights_as_its_full_run_does(planned):
    def decay(profile):
        schedule = of(planned, "2", profile)[0].settings.schedule
        drops = np.searchsorted(schedule.lr.milestones, np.arange(schedule.steps), side="right")
        return float((schedule.lr.base * schedule.lr.factor**drops).sum() * schedule.weight_decay)

    assert decay("small") == pytest.approx(decay("full"), rel=0.02)


def test_features_are_wanted_of_the_first_seed_of_figures_2_and_5(planned):
    wanted = [identity for identity, _ in _features.wanted(read_profile("small"))]
    best = [cell.identity for name in ("2", "5") for cell in of(planned, name, "small")]
    paper = [cell.identity for cell in figure_cells(read_figure("5"), read_profile("small"), 1, "paper")]
    assert wanted == best + paper
    assert all(identity["seed"] == 0 for identity in wanted)


@pytest.mark.parametrize("name", ["5", "7"])
def test_a_figure_is_drawn_of_the_papers_method_too(name):
    plan = read_figure(name)
    assert figure_recipes(plan) == ("best", "paper")
    of_m4 = [c for c in figure_cells(plan, {}, 1, "paper") if c.settings.loss.name == "lsoftmax"]
    assert {(c.settings.schedule.lam.kind, c.settings.loss.margin_on) for c in of_m4} == {("power", "all")}
    best = [c for c in figure_cells(plan, {}, 1) if c.column == "CIFAR10+" and c.settings.loss.name == "lsoftmax"]
    assert {c.settings.schedule.lam.kind for c in best} == {"adaptive"}


def test_the_paper_recipe_of_a_figure_is_the_tables():
    of_table = {identity_sha256(c.identity) for c in cells(read_table("3"), {}, 1) if c.recipe == "paper"}
    columns = ("CIFAR10", "CIFAR10+")
    of_figure = [c for c in figure_cells(read_figure("5"), {}, 1, "paper") if c.column in columns]
    assert {identity_sha256(c.identity) for c in of_figure} < of_table


def test_a_profile_names_its_entry_of_another_network():
    [cell] = [c for c in figure_cells(read_figure("2"), read_profile("small"), 1) if c.row == "Softmax"]
    entry = read_profile("small")["mnist_2d"]
    assert cell.identity == identity(
        compose(["dataset=mnist", "model=mnist_2d", "schedule.lr.base=0.01", *entry, "loss=softmax", "seed=0"])
    )
