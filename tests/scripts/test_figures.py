"""The figures: their formulas, and what is drawn and written of made-up records."""

import math
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from scripts import _figures, _records
from scripts._plan import figure_cells, read_figure, read_profile
from scripts.figures import Material, curves, draw, figure4, figure5, style

from .conftest import FIGURES_OF_RUNS, of

FORMULAS = ["psi", "4", "lr_lambda"]


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


def test_the_means_below_a_matrix_leave_out_an_image_with_itself():
    features, labels = np.array([[1, 0], [0, 2], [3, 4]], dtype=np.float16), np.array([0, 0, 1], dtype=np.uint8)
    assert figure5.class_cosines(features, labels) == pytest.approx((0.0, 0.7), abs=1e-6)


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


@pytest.mark.parametrize("name", FIGURES_OF_RUNS)
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


def test_a_diverged_run_does_not_cut_the_others_short(filled):
    material = filled("6")
    runs = material.runs["Softmax", "CIFAR100"]
    runs.append(runs[0] | {"status": "diverged", "curve": [[100, 60.0, 75.0]]})
    left, _ = lines(material)
    assert left["Softmax, 1 of 3 diverged"] == [[100, 80], [200, 40]]


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


def test_the_caption_counts_the_runs_on_other_data(kept):
    records = _records.read_records("small")
    next(iter(records.values()))["dataset_sha256"] = "e" * 64
    assert "Left out: 1 runs on other data." in _figures.caption("6", "small", read_figure("6"), kept, records)


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


def test_the_figure_in_the_papers_recipe_has_a_file_and_a_command_of_its_own():
    wanted = figure_cells(read_figure("5"), {}, 1, "paper")
    said = _figures.caption("5", "full", read_figure("5"), wanted, {})
    assert "figure=5 recipes=paper" in said
    assert _figures.paths("5", "full", "paper")["png"].name == "figure5_paper.png"
