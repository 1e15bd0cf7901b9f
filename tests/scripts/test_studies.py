"""The studies: their files, and what is written of their runs."""

import csv
import io

import pytest

from configs.schema import Settings
from scripts import _studies
from scripts._metric import METRICS
from scripts._plan import figure_cells, names, read_profile, read_study
from scripts._tables import collect

from .conftest import composed

STUDY = {
    "title": "Two ways",
    "text": "What it is about.",
    "metric": "test_error",
    "baseline": "softmax",
    "columns": [{"label": "digits"}, {"label": "letters"}],
    "rows": [{"label": "softmax"}, {"label": "margin"}, {"label": "absent"}],
}


@pytest.fixture
def results(made_up):
    """Softmax has 20 and 22 of 100 wrong on the digits, the margin 12 and 10; nothing was run on the letters."""

    def run(loss, wrong, seed, **other):
        last = {"lam": 0.5, "target_angle_q50": 30.0 + seed, "feature_norm": 4.0, "weight_norm": 1.5}
        other = {"trace": [{"lam": 9.0}, last], "val_error": wrong + 1.0, **other}
        return made_up(composed((f"loss={loss}", f"seed={seed}")), wrong=range(wrong), **other)

    places = {(row["label"], column, "best"): [] for row in STUDY["rows"] for column in ("digits", "letters")}
    places["softmax", "digits", "best"] = [run("softmax", 20, 0), run("softmax", 22, 1)]
    margin = [run("lsoftmax", 12, 0, train_error=1.0), run("lsoftmax", 10, 1, train_error=2.0)]
    places["margin", "digits", "best"] = margin
    return places


def lines(study, results):
    return list(csv.DictReader(io.StringIO(_studies.comma_separated(study, results))))


# What is written.


def test_over_a_setting_each_way_has_a_line_of_errors_and_its_lowest_is_bold(results):
    places = {"softmax": ("softmax", 0.2), "margin": ("m = 4", 0.1), "absent": ("m = 4", 0.2)}
    labels = [row["label"] for row in STUDY["rows"]]
    rows = [{"label": label, "line": places[label][0], "at": places[label][1]} for label in labels]
    results["margin", "digits", "best"][0].update(status="diverged", test_error=None)
    text = _studies.markdown({**STUDY, "rows": rows, "over": "loss.s"}, results, "")
    found = [line for line in text.splitlines() if line.startswith(("| test error", "| softmax |", "| m = 4"))]
    assert found[:3] == [
        "| test error over loss.s | 0.1 | 0.2 |",
        "| softmax |  | **21.00 ± 1.41** |",
        "| m = 4 | **10.00**, 1 diverged | not run |",
    ]


def test_of_an_accuracy_the_highest_is_bold(made_up):
    settings = composed(("loss=softmax",))
    runs = {
        at: made_up(settings, verification={"dev": {"accuracy": at / 100, "wrong_pairs": [], "pairs": 9}})
        for at in (81, 83)
    }
    rows = [{"label": f"softmax, {at}", "line": "softmax", "at": at} for at in runs]
    study = {**STUDY, "rows": rows, "over": "x", "metric": "verification", "baseline": "softmax, 81"}
    results = {(f"softmax, {at}", "digits", "best"): [run] for at, run in runs.items()}
    assert "| softmax | 81.00 | **83.00** |" in _studies.markdown(study, results, "")


def test_a_study_over_a_setting_has_a_row_for_each_value():
    study = read_study("decay")
    rows = {row["label"]: row for row in study["rows"]}
    assert rows["adaptive 0.7, 0.012"]["overrides"][-1] == "schedule.weight_decay=0.012"
    assert "adaptive 0.7, 0.0015" not in rows and "softmax, 0.0015" in rows  # a row may name values of its own


def test_a_line_holds_means_and_the_difference_to_the_baseline(results):
    _, margin, *_ = lines(STUDY, results)
    assert (margin["mean"], margin["n"], margin["difference"]) == ("11.0", "2", "-10.0")
    assert float(margin["std"]) == pytest.approx(2**0.5)
    assert float(margin["low"]) < -10 < float(margin["high"]) < 0
    assert (margin["train_error"], margin["target_angle"], margin["lam"]) == ("1.5", "30.5", "0.5")


def test_the_baseline_is_not_compared_with_itself(results):
    softmax, *_ = lines(STUDY, results)
    assert (softmax["mean"], softmax["difference"], softmax["low"]) == ("21.0", "", "")


def test_cosines_inside_and_between_classes_are_means_over_the_runs_that_have_them(results):
    for run, same in zip(results["margin", "digits", "best"], (0.5, 0.7), strict=True):
        sets = {"train": 0.3, "test": 0.1, "val": 0.0}
        run["cosines"] = {name: {"same_class": same + more, "other_classes": more} for name, more in sets.items()}
    del run["cosines"]["val"]  # the second run's: then the test images are those that the error is of
    softmax, margin, _ = lines(STUDY, results)[:3]
    assert [softmax[key] for key in ("same_train", "same_class", "other_classes")] == ["", "", ""]
    values = [float(margin[key]) for key in ("same_train", "same_class", "other_classes")]
    assert values == pytest.approx([0.9, (0.5 + 0.8) / 2, (0.0 + 0.1) / 2])
    assert "| 0.90 | 0.65 | 0.05 |" in _studies.markdown(STUDY, results, "do this")


def test_validation_errors_are_compared_by_their_means(results):
    _, margin, *_ = lines({**STUDY, "metric": "val_error"}, results)
    assert (margin["mean"], margin["difference"], margin["low"]) == ("12.0", "-10.0", "")


def test_a_study_that_chooses_shows_no_test_error(results):
    text = _studies.markdown({**STUDY, "metric": "val_error"}, results, "do this")
    assert "22.00" in text and "21.00" not in text and "| validation error |" in text
    assert "on the same images (of means)" in text  # which went wrong is not kept: there is no interval


def test_a_study_of_faces_shows_the_share_of_pairs_judged_rightly(results):
    for runs, wrong in ((results["softmax", "digits", "best"], 30), (results["margin", "digits", "best"], 10)):
        for run in runs:
            run["verification"] = {
                "pairs": {"accuracy": 1 - wrong / 100, "wrong_pairs": list(range(wrong)), "pairs": 100}
            }
    faces = {**STUDY, "metric": "verification"}
    _, margin, *_ = lines(faces, results)
    assert (margin["mean"], margin["difference"]) == ("90.0", "20.0") and float(margin["low"]) > 0
    text = _studies.markdown(faces, results, "do this")
    assert (
        "| accuracy | difference |" in text and "on the same pairs, with a 95 % interval over seeds and pairs" in text
    )


def test_every_way_and_problem_is_listed_run_or_not(results):
    text = _studies.markdown(STUDY, results, "do this")
    digits, letters = text.split("## digits")[1].split("## letters")
    assert "| margin | 2 finished | 11.00 ± 1.41 (2) | -10.00 [" in digits and "| absent | not run |" in digits
    assert letters.count("not run") == 3
    assert "4 runs. device Abacus" in text and "`do this`" in text


def test_how_runs_ended_is_counted(results, made_up):
    died = {"status": "diverged", "test_error": None, "train_error": None, "trace": []}
    runs = results["margin", "digits", "best"]
    runs[0] |= {"train_error": 46.0}  # above half of chance's
    runs.append(made_up(composed(("seed=2",)), wrong=None, **died))
    _, margin, *_ = lines(STUDY, results)
    assert (margin["finished"], margin["collapsed"], margin["diverged"], margin["n"]) == ("1", "1", "1", "2")
    assert "| 1 finished, 1 collapsed, 1 diverged | 11.00" in _studies.markdown(STUDY, results, "")


def test_a_way_that_learned_far_less_than_the_baseline_is_collapsed(results):
    results["margin", "digits", "best"][0] |= {"train_error": 30.0}
    _, margin, *_ = lines(STUDY, results)
    assert (margin["finished"], margin["collapsed"]) == ("1", "1")


def test_a_record_from_before_there_was_a_trace_counts(results):
    for run in results["margin", "digits", "best"]:
        del run["trace"]
    _, margin, *_ = lines(STUDY, results)
    assert (margin["mean"], margin["target_angle"]) == ("11.0", "")


def test_a_run_of_two_ways_is_counted_once(results):
    results["absent", "digits", "best"] = results["margin", "digits", "best"]
    assert _studies.origin(results).startswith("4 runs. ")


def test_nothing_run_says_so():
    empty = {place: [] for place in [("softmax", "digits", "best"), ("margin", "digits", "best")]}
    assert "No run of this study has been made yet." in _studies.markdown(STUDY, empty, "")


# What is drawn.


@pytest.fixture
def drawn(tmp_path):
    pytest.importorskip("matplotlib")
    from scripts import _figures

    return lambda study, results: {path.stem: path for path in _figures.write_study("ways", tmp_path, study, results)}


def test_the_traces_of_a_problem_that_was_run_are_drawn(drawn, results):
    for runs in results.values():
        for run in runs:
            run["curve"] = [[5, 50.0, 60.0], [9, None, 40.0]]
            run["trace"] = [{"step": 9, "test_error": 40.0, **run["trace"][-1]}]
    files = drawn({**STUDY, "traces": ["softmax", "margin"]}, results)
    assert files.keys() == {"ways_traces_digits"} and files["ways_traces_digits"].with_suffix(".svg").exists()


def test_a_trace_is_the_mean_of_the_runs_where_all_have_a_number():
    pytest.importorskip("matplotlib")
    from scripts.figures.study import draw_traces

    def run(*errors):
        lines = [{"step": 10 * k, "val_error": error} for k, error in enumerate(errors, start=1)]
        curve = [[10 * k, error / 2, None] for k, error in enumerate(errors, start=1)]
        return {"status": "finished", "trace": lines, "curve": curve}

    alone, both = run(60.0, 30.0), [run(50.0, 40.0, 30.0), run(30.0, 20.0)]
    error = draw_traces({"softmax": [alone], "margin": both}, "val_error").axes[0]
    drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in error.get_lines()}
    assert drawn["softmax"] == ([10, 20], [60.0, 30.0])
    assert drawn["margin, mean of 2"] == ([10, 20], [40.0, 30.0])
    assert ([10, 20], [20.0, 15.0]) in drawn.values()  # the training error


def test_runs_from_before_there_was_a_trace_are_not_drawn(drawn, results):
    for runs in results.values():
        for run in runs:
            del run["trace"]
    assert drawn({**STUDY, "traces": ["softmax", "margin"]}, results) == {}


def test_errors_over_a_setting_are_drawn_line_by_line(drawn, results, monkeypatch):
    from scripts.figures import study as figures

    seen = []
    monkeypatch.setattr(
        figures, "draw_over", lambda *given: (seen.append(given), figures.style.panels(1, 1, 3, 2)[0])[1]
    )
    rows = [{**row, "line": "all", "at": float(at)} for at, row in enumerate(STUDY["rows"])]
    assert "ways_over_digits" in drawn({**STUDY, "rows": rows, "over": "schedule.weight_decay"}, results)
    assert seen == [
        ({"all": {0.0: [20.0, 22.0], 1.0: [12.0, 10.0], 2.0: []}}, "schedule.weight_decay", "test error", "lower")
    ]


def test_what_was_measured_of_another_problem_alone_is_not_drawn(drawn, results):
    rows = [{**row, "line": "all", "at": 1.0 + at} for at, row in enumerate(STUDY["rows"])]
    results["softmax", "letters", "best"] = [dict(run) for run in results["softmax", "digits", "best"]]
    results["softmax", "digits", "best"][0]["unseen"] = {"recall_at_1": 5.0}
    files = drawn({**STUDY, "rows": rows, "over": "x"}, results)
    assert files.keys() == {"ways_over_digits", "ways_over_unseen_digits", "ways_over_letters"}


def test_a_line_without_runs_is_said():
    from scripts.figures.study import draw_over

    [legend] = draw_over({"softmax": {0.1: [3.0]}, "margin": {0.1: []}}, "decay", "test error").legends
    assert [text.get_text() for text in legend.get_texts()] == ["margin: not run", "softmax"]


@pytest.mark.parametrize(("worst", "told"), [(4.4, []), (5.4, ["5.4"]), (9.96, ["10.0"])])
def test_a_way_that_is_far_worse_is_told_at_the_edge_and_does_not_flatten_the_others(worst, told):
    from scripts.figures.study import draw_over

    lines = {"a": {0.1: [3.0, 3.2], 0.2: [2.0]}, "b": {0.1: [worst], 0.2: [4.0]}}
    [axes] = draw_over(lines, "decay", "test error").axes
    assert [text.get_text() for text in axes.texts] == told
    assert axes.get_ylim()[1] < 5
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.1", "0.2"]


def test_of_a_share_that_is_found_the_highest_is_not_beyond_the_axis():
    from scripts.figures.study import draw_over

    [axes] = draw_over({"a": {0.1: [9.0]}, "b": {0.1: [3.0]}, "c": {0.1: [4.0]}}, "decay", "unseen", "higher").axes
    assert not axes.texts and axes.get_ylim()[1] > 9


def test_a_setting_at_which_all_runs_died_is_drawn():
    from scripts.figures.study import draw_over

    draw_over({"a": {0.1: []}}, "decay", "test error")


def test_nothing_is_drawn_of_nothing(drawn):
    empty = {("softmax", "digits", "best"): []}
    assert drawn({**STUDY, "rows": STUDY["rows"][:1], "traces": ["softmax"], "over": "x"}, empty) == {}


# The files.

STUDIES = names("study")


@pytest.fixture(scope="module", params=STUDIES)
def study(request):
    return read_study(request.param)


def test_every_row_of_a_study_composes(study):
    cells = figure_cells(study, read_profile(study["profile"]), 1)
    assert cells and all(isinstance(cell.settings, Settings) for cell in cells)
    assert {cell.row for cell in cells} == {row["label"] for row in study["rows"]}
    assert len({str(cell.identity) for cell in cells}) == len(cells), "two ways that are the same run"
    assert collect(cells, {}).keys() == {(cell.row, cell.column, "best") for cell in cells}


def test_a_study_compares_with_one_of_its_rows(study):
    assert study["baseline"] in {row["label"] for row in study["rows"]}
    assert study["metric"] in METRICS and study["seeds"] >= 1


def test_who_chooses_has_validation_images_and_who_tests_has_none(study):
    for cell in figure_cells(study, read_profile(study["profile"]), 1):
        assert (cell.settings.dataset.validation > 0) == (study["metric"] == "val_error")


def test_records_on_other_data_are_said(results):
    assert "Left out" not in _studies.markdown(STUDY, results, "")
    assert _studies.markdown(STUDY, results, "", 2).endswith(" Left out: 2 records of runs on other data.\n")
