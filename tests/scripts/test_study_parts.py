"""Studies of parts of the training images: their files, and what is written and drawn of their runs."""

import csv
import io
import statistics

import pytest
import torch

from configs.errors import ConfigError
from lsoftmax.metrics import paired_difference
from scripts import _studies
from scripts._plan import figure_cells, read_profile, read_study

from .conftest import composed

PARTS = {
    "title": "Two ways",
    "text": "What it is about.",
    "metric": "test_error",
    "baseline": "softmax",
    "problem": "Digits",
    "parts": {"dataset.train_part": [1, 2, 3]},
    "columns": [{"label": label} for label in "123"],
    "rows": [{"label": "softmax"}, {"label": "margin"}, {"label": "absent"}],
}


def lines(results):
    return list(csv.DictReader(io.StringIO(_studies.comma_separated(PARTS, results))))


@pytest.fixture
def of_parts(made_up):
    """Of 100 images softmax has 20, 30 and 28 wrong on the three parts, the margin 12 and 24; its third is not run."""

    def run(loss, wrong):
        return made_up(composed((f"loss={loss}", "seed=0")), wrong=range(wrong))

    places = {(row["label"], part, "best"): [] for row in PARTS["rows"] for part in "123"}
    wrong = {"softmax": (20, 30, 28), "lsoftmax": (12, 24)}
    for loss, way in (("softmax", "softmax"), ("lsoftmax", "margin")):
        for part, count in zip("123", wrong[loss], strict=False):
            places[way, part, "best"] = [run(loss, count)]
    return places


def test_parts_of_the_training_images_are_one_problem_compared_part_by_part(of_parts):
    text = _studies.markdown(PARTS, of_parts, "")
    assert "## 3 parts of Digits" in text and text.count("## ") == 1 and "over parts and images" in text
    assert "| margin | 2 | 12.00 | 24.00 |  |" in text and "| absent | 0 |  |  |  |" in text
    wrong = torch.zeros(2, 2, 100)
    for way, counts in enumerate([(12, 24), (20, 30)]):
        for part, count in enumerate(counts):
            wrong[way, part, :count] = 1
    found = paired_difference(*wrong, matched=True)
    assert found.difference == pytest.approx(-7)  # to softmax's first two parts
    said = f"| margin | 2 finished | 18.00 ± 8.49 (2) | -7.00 [{found.low:+.2f}, {found.high:+.2f}] |"
    assert said in text and "| softmax | 3 finished | 26.00 ± 5.29 (3) |  |" in text


def test_a_part_without_a_number_is_compared_with_nothing(of_parts):
    of_parts["margin", "2", "best"][0].update(status="diverged", test_error=None)
    assert "| margin | 1 finished, 1 diverged | 12.00 (1) | -8.00 |" in _studies.markdown(PARTS, of_parts, "")


def test_a_way_keeps_its_numbers_where_the_baseline_has_none(of_parts):
    of_parts["softmax", "2", "best"][0].update(status="diverged", test_error=None)
    of_parts["margin", "3", "best"] = of_parts.pop(("margin", "1", "best"))
    of_parts["margin", "1", "best"] = []
    text = _studies.markdown(PARTS, of_parts, "")
    assert "| margin | 2 finished | 18.00 ± 8.49 (2) | -16.00 |" in text and "| margin | 2 |  | 24.00 | 12.00 |" in text
    for part in "123":
        of_parts["softmax", part, "best"] = []
    text = _studies.markdown(PARTS, of_parts, "")
    assert "| margin | 2 finished | 18.00 ± 8.49 (2) |  |" in text and "| softmax | not run |" in text
    assert lines(of_parts)[-2]["values"] == "[24.0, 12.0]"


def test_seeds_of_one_part_are_no_parts(of_parts, made_up):
    for way in ("softmax", "margin"):
        for part in "12":
            again = made_up(composed((f"loss={'lsoftmax' if way == 'margin' else way}", "seed=1")), wrong=range(15))
            of_parts[way, part, "best"].append(again)
    wrong = torch.zeros(2, 2, 100)
    for way, counts in enumerate([(12, 24), (20, 30)]):
        for part, count in enumerate(counts):
            wrong[way, part, :count] += 0.5
            wrong[way, part, :15] += 0.5
    found = paired_difference(*wrong, matched=True)
    said = f"{found.difference:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
    assert f"| margin | 4 finished | 16.50 ± 5.20 (4) | {said} |" in _studies.markdown(PARTS, of_parts, "")


def test_validation_errors_of_parts_are_compared_where_both_have_them(of_parts):
    for runs in of_parts.values():
        for run in runs:
            run["val_error"] = run["test_error"] + 1
    text = _studies.markdown({**PARTS, "metric": "val_error"}, of_parts, "")
    assert "| margin | 2 finished | 19.00 ± 8.49 (2) | -7.00 |" in text


def test_the_traces_of_parts_are_those_of_all_parts(of_parts, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from scripts import _figures
    from scripts.figures import study as figures

    seen, draw = [], figures.draw_traces
    monkeypatch.setattr(figures, "draw_traces", lambda *given: (seen.append(given), draw(*given))[1])
    for runs in of_parts.values():
        for run in runs:
            run["trace"], run["curve"] = [{"step": 9, "test_error": 40.0, "feature_norm": 4.0}], [[9, 50.0, 40.0]]
    study = {**PARTS, "traces": ["softmax", "margin", "absent"]}
    files = [path.stem for path in _figures.write_study("halves", tmp_path, study, of_parts)]
    assert files == ["halves_by_part", "halves_traces_digits"]
    ((ways, metric),) = seen
    assert ({way: len(runs) for way, runs in ways.items()}, metric) == ({"softmax": 3, "margin": 2}, "test_error")


def test_parts_go_with_one_column(monkeypatch):
    study = read_study("parts")
    for more in ({"columns": study["columns"][:2]}, {"over": "x", "rows": [], "values": []}):
        monkeypatch.setattr(
            "scripts._plan._read", lambda *of, more=more: {**study, "columns": study["columns"][:1], **more}
        )
        with pytest.raises(ConfigError, match="study=any: parts go with one column"):
            read_study("any")


def test_the_parts_have_their_lines_and_one_for_all_of_them(of_parts):
    found = [(line["problem"], line["way"], line["n"]) for line in lines(of_parts)]
    assert found[1:10:3] == [(part, "margin", n) for part, n in zip("123", "110", strict=True)]
    assert found[9:] == [("all parts", "softmax", "3"), ("all parts", "margin", "2"), ("all parts", "absent", "0")]


def test_a_study_of_parts_has_other_training_images_in_each():
    wanted = figure_cells(read_study("parts"), read_profile("small"), 1)
    assert [cell.settings.dataset.train_part for cell in wanted[::2]] == list(range(1, 11))
    assert len({cell.column for cell in wanted}) == 10


def test_parts_of_the_classes_have_images_of_their_own(of_parts, tmp_path):
    study = {**PARTS, "parts": {"dataset.first_class": [0, 2, 4]}}
    text = _studies.markdown(study, of_parts, "")
    assert "over parts, each with images of its own, where both have two runs" in text
    # -8 and -6 points: Student's t of one degree of freedom alone, whatever images are wrong
    half = 12.706 * statistics.stdev([8, 6]) / 2**0.5
    assert f"18.00 ± 8.49 (2) | -7.00 [{-7 - half:+.1f}" in text
    wanted = figure_cells(read_study("parts_cifar100"), read_profile("small"), 1)
    assert [cell.settings.dataset.first_class for cell in wanted[::3]] == [0, 20, 40, 60, 80]
    assert {cell.settings.dataset.classes for cell in wanted} == {20}


@pytest.mark.parametrize(("setting", "own"), [("dataset.first_class", True), ("dataset.train_part", False)])
def test_parts_of_the_classes_alone_are_compared_without_their_images(of_parts, monkeypatch, setting, own):
    asked = []
    monkeypatch.setattr("scripts._tables.compared_by_part", lambda *of, own_images: asked.append(own_images))
    _studies.markdown({**PARTS, "parts": {setting: [1, 2, 3]}}, of_parts, "")
    assert set(asked) == {own}


def test_the_figure_of_a_study_says_what_its_parts_are(of_parts):
    pytest.importorskip("matplotlib")
    from scripts.figures.study import draw

    for setting, said in (("train_part", "part of the training images"), ("first_class", "first class of the part")):
        [(name, figure)] = draw({**PARTS, "parts": {f"dataset.{setting}": [0, 2, 4]}}, of_parts)
        assert name == "by_part" and figure.axes[0].get_xlabel() == said


def test_parts_are_drawn_in_the_order_of_the_baselines_errors(of_parts, tmp_path):
    pytest.importorskip("matplotlib")
    from scripts import _figures
    from scripts.figures.study import draw_parts

    assert {path.stem for path in _figures.write_study("ways", tmp_path, PARTS, of_parts)} == {"ways_by_part"}
    [axes] = draw_parts(
        {"a": {"1": 20.0, "2": 30.0, "3": 28.0}, "b": {"1": 12.0, "3": 25.0}, "c": {}}, "a", "error", "part"
    ).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "3", "2"]
    dots = {line.get_label(): line.get_ydata().tolist() for line in axes.lines if line.get_marker() == "o"}
    assert dots == {"a": [20.0, 28.0, 30.0], "b": [12.0, 25.0], "c: no number": []}
    [axes] = draw_parts({"a": {"2": 20.0}, "b": {"1": 12.0}}, "a", "error", "part").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "1"]
