"""The figures: their files, the runs that they ask for, and what is drawn of made-up records."""

import functools
import json
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from configs import settings as configuration
from configs.settings import compose
from lsoftmax.engine.folder import identity_sha256
from scripts import _features, _figures, _records
from scripts._plan import cells, figure_cells, names, read_figure, read_profile, read_table
from scripts.figures import Material, curves, draw, figure4, figure5, style

RUN = ["2", "5", "6", "7", "roc"]  # those that are made of runs


FORMULAS = ["psi", "4", "lr_lambda"]


PROFILES = ["full", "small", "tiny"]


_composed = functools.cache(lambda overrides: configuration.compose(overrides))  # 0.1 s each; many ask the same


@pytest.fixture(scope="session")
def planned() -> dict:
    """(figure, profile, column, row) -> its cell of seed 0; composing all of them is the point."""
    return {
        (name, profile, cell.column, cell.row): cell
        for name in RUN
        for profile in PROFILES
        for cell in figure_cells(read_figure(name), read_profile(profile), 1)
    }


def of(planned: dict, name: str, profile: str) -> list:
    return [cell for key, cell in planned.items() if key[:2] == (name, profile)]


# The files.


def test_every_figure_is_one_of_the_two_kinds():
    assert sorted(names("figure")) == sorted([*RUN, *FORMULAS])


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", RUN)
def test_every_row_of_every_column_composes(planned, name, profile):
    plan = read_figure(name)
    assert len(of(planned, name, profile)) == len(plan["rows"]) * len(plan["columns"])


@pytest.mark.parametrize("name", FORMULAS)
def test_a_figure_of_formulas_asks_for_no_run(name):
    assert figure_cells(read_figure(name), read_profile("small"), 3) == []


def test_the_schedules_of_lr_lambda_compose_to_section_5_1():
    for schedule in read_figure("lr_lambda")["schedules"]:
        assert _composed(tuple(schedule["overrides"])).schedule.lr.milestones == [12000, 15000]


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


@pytest.mark.parametrize("name", RUN)
def test_no_run_of_a_profile_is_one_of_another(planned, name):
    shas = [{identity_sha256(cell.identity) for cell in of(planned, name, profile)} for profile in PROFILES]
    assert len(set.union(*shas)) == sum(map(len, shas))


def test_the_small_figure_2_decays_the_weights_as_its_full_run_does(planned):
    def decay(profile):
        schedule = of(planned, "2", profile)[0].settings.schedule
        drops = np.searchsorted(schedule.lr.milestones, np.arange(schedule.steps), side="right")
        return float((schedule.lr.base * schedule.lr.factor**drops).sum() * schedule.weight_decay)

    assert decay("small") == pytest.approx(decay("full"), rel=0.02)


# The formulas.


@pytest.mark.parametrize("between", [60, 100, 150])
@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_equal_weights_share_the_plane_evenly(m, between):
    found, decided = figure4.regions(m, between, 1.0)
    low, high = figure4.span(found[2])[1], figure4.span(found[1])[0]
    assert decided == pytest.approx(90, abs=0.06) and low + high == pytest.approx(180, abs=0.06)
    # cos(m theta) = cos(between - theta) where a region ends: theta = between / (m + 1).
    assert high == pytest.approx(90 + between / 2 - between / (m + 1), abs=0.1)


def test_the_longer_weight_takes_the_larger_part():
    longer, even, shorter = (figure4.regions(2, 100, ratio)[1] for ratio in (1.6, 1.0, 0.625))
    assert longer < even < shorter and longer + shorter == pytest.approx(180, abs=0.1)


def test_the_boundary_of_the_test_is_where_both_scores_are_the_same():
    _, decided = figure4.regions(2, 100, 1.6)
    scores = [length * math.cos(math.radians(decided - at)) for length, at in ((1.6, 140), (1.0, 40))]
    assert scores[0] == pytest.approx(scores[1], abs=2e-3)


def test_cosines_are_those_of_torch_and_a_zero_has_none():
    features = np.array([[3, 4], [0, 0], [-4, 3], [6, 8]], dtype=np.float16)
    cosines = figure5.cosine_matrix(features)
    rows = torch.from_numpy(features).double()
    assert cosines == pytest.approx(torch.cosine_similarity(rows[:, None], rows[None], dim=-1).numpy(), abs=1e-12)
    assert cosines[1].tolist() == [0, 0, 0, 0]


def test_an_image_is_not_compared_with_itself():
    cosines = np.array([[1, 0.5, 0.1], [0.5, 1, 0.3], [0.1, 0.3, 1]])
    assert figure5.class_means(cosines, np.array([0, 0, 1])) == pytest.approx((0.5, 0.2))


@pytest.mark.parametrize(("label", "m"), [("Softmax", 1), ("L-Softmax (m=3)", 3)])
def test_a_label_tells_its_margin(label, m):
    assert style.margin(label) == m


# The drawing.


@pytest.fixture
def filled(planned, made_up):
    """filled("6") -> a Material with three records for each row, and features where the figure shows them."""

    def fill(name: str, **other) -> Material:
        plan, runs, features = read_figure(name), {}, {}
        random = np.random.default_rng(0)
        for cell in of(planned, name, "small"):
            curve = [[100, 80.0, 85.0], [200, 40.0, 60.0], [300, None, 50.0]]
            pairs = {"roc": {"far": [0, 0.01, 0.1, 1], "tar": [0.1, 0.4, 0.8, 1]}}
            verification = {"held_out": {"roc": None}, "lfw": pairs}
            record = made_up(
                cell.settings, range(7), curve=curve, parameters=1_200_000, **({"verification": verification} | other)
            )
            runs[cell.row, cell.column] = [record, record | {"test_error": 9.0}]
            for part in plan.get("features", {}).get("sets", []):
                found = features.setdefault((cell.row, cell.column), {})
                found[f"{part}_features"] = random.normal(size=(40, 2)).astype(np.float16)
                found[f"{part}_labels"] = np.repeat(np.arange(10, dtype=np.uint8), 4)
        return Material(plan, runs, features)

    return fill


def texts(figure) -> str:
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize("name", RUN)
def test_a_figure_is_drawn_with_and_without_runs(filled, name):
    assert "not run" not in texts(draw(name, filled(name)))
    assert "not run" in texts(draw(name, Material(read_figure(name))))


@pytest.mark.parametrize("name", FORMULAS)
def test_a_figure_of_formulas_is_drawn(name):
    assert draw(name, Material(read_figure(name))).axes


def test_figure_2_prints_mean_and_deviation_beside_the_papers_accuracy(filled):
    said = texts(draw("2", filled("2")))
    assert f"test accuracy 92.00 ± {math.sqrt(2):.2f} %" in said and "(paper 99.34 %)" in said


def test_figure_2_of_diverged_runs_has_no_number(filled):
    material = filled("2")
    for runs in material.runs.values():
        runs[:] = [run | {"test_error": None} for run in runs]
    assert "test accuracy no number" in texts(draw("2", material))


def test_figure_7_says_what_the_profile_scales(filled):
    assert "32/32/64/128 × 0.25 (1.2 M)" in texts(draw("7", filled("7")))


def lines(material: Material) -> dict:
    """Of the left and the right panel: label -> (x, y)."""
    left, right = draw("6", material).axes
    return [{line.get_label(): line.get_xydata().tolist() for line in axes.lines} for axes in (left, right)]


def test_figure_6_draws_the_mean_over_runs(filled):
    material = filled("6")
    runs = material.runs["Softmax", "CIFAR100"]
    runs[1] = runs[1] | {"curve": [[100, 60.0, 75.0], [200, 20.0, 40.0]]}  # cut, as a diverged run's
    left, right = lines(material)
    assert left["Softmax"] == [[100, 70], [200, 30]] and right["Softmax"] == [[100, 80], [200, 50]]


def test_figure_6_marks_where_the_rate_drops_unless_runs_differ(filled):
    material = filled("6")
    assert curves._milestones(material) == [2000, 2500]
    [run, *_] = material.runs["Softmax", "CIFAR100"]
    run["schedule"] = run["schedule"] | {"lr": {"milestones": [7]}}
    assert curves._milestones(material) == []


def test_the_roc_is_the_mean_over_runs_at_each_false_accept_rate(filled):
    material = filled("roc")
    runs = material.runs["Softmax", "LFW"]
    runs[1] = runs[1] | {"verification": {"lfw": {"roc": {"far": [0, 0.01, 0.1, 1], "tar": [0, 0.2, 0.4, 1]}}}}
    [axes] = draw("roc", material).axes
    [line] = [line for line in axes.lines if line.get_label() == "Softmax"]
    assert line.get_xydata() == pytest.approx(np.array([[0.01, 0.3], [0.1, 0.6], [1, 1]]))


def test_a_run_without_a_roc_is_said(filled):
    assert "Softmax: no curve" in texts(draw("roc", filled("roc", verification={"lfw": {"accuracy": 0.9}})))


# What is written.


@pytest.fixture
def kept(planned, made_up, elsewhere):
    """Records of figure 6, small: two seeds of softmax and one of m = 4; the cells that the figure asks for."""
    wanted = figure_cells(read_figure("6"), read_profile("small"), 2)
    for cell in wanted:
        if cell.row == "Softmax" or (cell.row, cell.seed) == ("L-Softmax (m=4)", 0):
            _records.keep(made_up(cell.settings, [1], curve=[[1, 50.0, 60.0]], parameters=9), "small")
    return wanted


def test_the_caption_says_command_profile_seeds_and_machine(kept):
    said = _figures.caption("6", "small", read_figure("6"), kept, _records.read_records("small"))
    parts = ["figure=6 profile=small", "no claim", "seeds 0, 1", "3 of 8 runs", "Abacus", "torch 2.99"]
    assert [part for part in parts if part not in said] == []


def test_the_caption_without_a_run_says_so(kept):
    assert "No run has been made yet" in _figures.caption("6", "full", read_figure("6"), kept, {})


def test_both_files_are_written_and_are_the_same_the_next_time(kept, elsewhere):
    written = []
    for _ in range(2):
        png = _figures.write("6", "small", read_figure("6"), kept, _records.read_records("small"))
        written.append([png.read_bytes(), png.with_suffix(".svg").read_bytes()])
    assert png == elsewhere / "results" / "small" / "figures" / "figure6.png"
    assert written[0] == written[1] and written[0][0].startswith(b"\x89PNG")
    assert ElementTree.fromstring(written[0][1]).tag.endswith("svg")


def test_features_are_wanted_of_the_first_seed_of_figures_2_and_5(planned):
    wanted = [identity for identity, _ in _features.wanted(read_profile("small"))]
    assert wanted == [cell.identity for name in ("2", "5") for cell in of(planned, name, "small")]
    assert all(identity["seed"] == 0 for identity in wanted)


def test_a_profile_names_its_entry_of_another_network():
    [cell] = [c for c in figure_cells(read_figure("2"), read_profile("small"), 1) if c.row == "Softmax"]
    entry = read_profile("small")["mnist_2d"]
    assert cell.identity == configuration.identity(
        compose(["dataset=mnist", "model=mnist_2d", "schedule.lr.base=0.01", *entry, "loss=softmax", "seed=0"])
    )
