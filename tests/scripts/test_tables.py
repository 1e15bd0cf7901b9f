"""The tables: which records count, and what is written of them."""

import csv
import io
import re
import statistics

import pytest
import torch

from configs.settings import compose
from lsoftmax.metrics import paired_difference
from scripts import _tables

from .conftest import COLLAPSED, DIVERGED


def test_rows_get_the_records_of_exactly_their_configuration(wanted, runs):
    records = runs("Softmax", {"wrong": [1]}, {"wrong": [2]})
    results = _tables.collect(wanted, records)
    assert results["Softmax", "Ones", "best"] == list(records.values())
    assert all(found == [] for place, found in results.items() if place != ("Softmax", "Ones", "best"))


@pytest.mark.parametrize(
    "other", ["schedule.steps=599", "dataset.train_images=500", "loss.gradient=detached", "seed=3"]
)
def test_a_run_of_something_else_fills_no_row(wanted, made_up, other):
    record = made_up(compose(["dataset=mnist5k", "loss.m=4", other]))
    assert not any(_tables.collect(wanted, {record["config_sha256"]: record}).values())


def test_recipes_that_are_the_same_run_share_its_record(wanted, made_up):
    [cell] = [c for c in wanted if (c.row, c.column, c.recipe, c.seed) == ("Softmax", "Twos", "best", 0)]
    record = made_up(cell.settings)
    results = _tables.collect(wanted, {record["config_sha256"]: record})
    assert results["Softmax", "Twos", "paper"] == results["Softmax", "Twos", "best"] == [record]


def test_runs_on_other_data_are_not_averaged_with_the_rest(table, wanted, runs):
    records = runs("Softmax", {"wrong": range(5)}, {"wrong": range(50), "dataset_sha256": "e" * 64})
    assert "27.50" not in _tables.markdown(table, _tables.collect(wanted, records), "", "")


def test_the_table_counts_the_runs_on_other_data_that_it_leaves_out(table, wanted, runs):
    other = {"dataset_sha256": "e" * 64}
    records = {**runs("Softmax", {}, {}, other), **runs("L-Softmax (m=4)", other)}
    assert _tables.left_out(wanted, records) == 2
    text = _tables.markdown(table, _tables.collect(wanted, records), "", "", _tables.left_out(wanted, records))
    assert "Left out: 2 records of runs on other data." in text


def test_nothing_is_said_of_left_out_runs_where_there_are_none(table, wanted, runs):
    records = runs("Softmax", {}, {})
    assert _tables.left_out(wanted, records) == 0
    assert "Left out" not in _tables.markdown(table, _tables.collect(wanted, records), "", "", 0)


def test_runs_on_other_data_are_not_compared_image_by_image(table, wanted, runs):
    other = {"wrong": range(4), "dataset_sha256": "e" * 64}
    records = {**runs("Softmax", {"wrong": range(9)}), **runs("L-Softmax (m=4)", other)}
    assert "-5.00 [" not in _tables.markdown(table, _tables.collect(wanted, records), "", "")


def test_where_no_checksum_is_known_the_data_of_most_runs_of_a_column_count(wanted, runs, made_up, monkeypatch):
    monkeypatch.setattr(_tables, "expected_sha256", lambda dataset: None)
    other, most = {"dataset_sha256": "e" * 64}, {"dataset_sha256": "f" * 64}
    [cell] = [c for c in wanted if (c.row, c.column, c.recipe, c.seed) == ("Softmax", "Twos", "best", 0)]
    twos = made_up(cell.settings, **other)
    records = {
        **runs("Softmax", other, most, most),
        **runs("L-Softmax (m=4)", other, most),
        twos["config_sha256"]: twos,
    }
    results = _tables.collect(wanted, records)
    kept = {(place[1], run["dataset_sha256"][0]) for place, found in results.items() for run in found}
    assert kept == {("Ones", "f"), ("Twos", "e")} and _tables.left_out(wanted, records) == 2


def test_a_table_judges_by_softmax_of_its_own_column(written, sheet, runs):
    records = {**runs("Softmax", {"train_error": 0.0}), **runs("L-Softmax (m=4)", {"train_error": 16.0})}
    assert "1 collapsed" in written(records)[OURS]
    assert sheet(records)["Ones", "L-Softmax (m=4)", "best"]["collapsed"] == "1"


@pytest.fixture
def written(table, wanted):
    """written(records) -> the cells of the Markdown table's line ROW in the column COLUMN."""

    def write(records: dict, row: str = "L-Softmax (m=4)", column: str = "Ones") -> list[str]:
        text = _tables.markdown(table, _tables.collect(wanted, records), "command", "")
        part = text.split(f"## {column}\n")[1].split("##")[0]
        [line] = [line for line in part.splitlines() if line.strip("| *").startswith(row)]
        return [cell.strip() for cell in line.strip("|").split("|")]

    return write


@pytest.fixture
def sheet(table, wanted):
    """sheet(records) -> the CSV's lines of our rows as dictionaries."""

    def read(records: dict) -> dict:
        text = _tables.comma_separated(table, _tables.collect(wanted, records))
        return {(r["column"], r["method"], r["recipe"]): r for r in csv.DictReader(io.StringIO(text))}

    return read


OURS, DIFFERENCE, AGAINST = 5, 6, 7  # of `best`, after method, paper and three of `paper`


ERRORS = [{"wrong": range(8)}, {"wrong": range(5)}, {"wrong": range(10)}]


def test_a_cell_is_mean_deviation_and_count(written, runs):
    deviation = statistics.stdev([8, 5, 10])
    assert written(runs("L-Softmax (m=4)", *ERRORS))[OURS] == f"7.67 ± {deviation:.2f} (3)"


def test_a_single_run_has_no_deviation(written, runs):
    assert written(runs("L-Softmax (m=4)", ERRORS[0]))[OURS] == "8.00 (1)"


def test_the_difference_is_ours_minus_the_papers(written, runs):
    assert written(runs("L-Softmax (m=4)", *ERRORS))[DIFFERENCE] == f"{23 / 3 - 7.58:+.2f}"


def test_the_papers_number_stands_beside(written):
    assert written({})[1] == "7.58" and written({}, column="Twos")[1] == "5.92"


def test_a_method_that_is_only_published_has_the_number_of_each_column(written, sheet):
    lines = sheet({})
    assert [written({}, "Others", column)[1] for column in ("Ones", "Twos")] == ["N/A", "8.39"]
    assert [lines[column, "Others (1999)", ""]["paper"] for column in ("Ones", "Twos")] == ["", "8.39"]


def test_a_number_that_the_paper_does_not_give_is_not_available(written):
    assert written({}, "Others")[1] == "N/A" and written({}, "Softmax", "Twos")[1] == "N/A"


def test_no_difference_to_a_number_that_is_not_there(written, wanted, made_up):
    records = [made_up(cell.settings, range(8)) for cell in wanted if (cell.row, cell.column) == ("Softmax", "Twos")]
    cells = written({record["config_sha256"]: record for record in records}, "Softmax", "Twos")
    assert cells[OURS].startswith("8.00") and cells[DIFFERENCE] == ""


def test_a_row_without_a_run_is_not_run(written, runs):
    cells = written(runs("Softmax", *ERRORS))
    assert cells[2:] == ["not run", "", "", "not run", "", ""]


def test_a_collapsed_run_counts_with_its_number(written, runs):
    cells = written(runs("L-Softmax (m=4)", *ERRORS[:2], COLLAPSED))
    assert cells[OURS].startswith(f"{103 / 3:.2f} ± ") and "(3; 1 collapsed)" in cells[OURS]


def test_a_diverged_run_is_said_beside_the_others(written, runs):
    assert "6.50 ± 2.12 (2; 1 diverged)" in written(runs("L-Softmax (m=4)", *ERRORS[:2], DIVERGED))[OURS]


def test_a_row_of_diverged_runs_alone_has_no_number_and_says_so(written, runs):
    assert written(runs("L-Softmax (m=4)", DIVERGED, DIVERGED))[OURS] == "no number; 2 diverged"


def test_diverged_and_collapsed_runs_are_counted_each(written, runs):
    ours = written(runs("L-Softmax (m=4)", DIVERGED, COLLAPSED, DIVERGED))[OURS]
    assert "2 diverged" in ours and "1 collapsed" in ours


def test_better_than_softmax_is_negative_with_its_interval(written, runs):
    softmax, ours = [{"wrong": range(20)}, {"wrong": range(24)}], [{"wrong": range(4)}, {"wrong": range(2)}]
    masks = [torch.tensor([[n < len(run["wrong"]) for n in range(100)] for run in way]) for way in (ours, softmax)]
    expected = paired_difference(*masks)
    said = written({**runs("Softmax", *softmax), **runs("L-Softmax (m=4)", *ours)})[AGAINST]
    difference, low, high = map(float, re.findall(r"[+-][\d.]+", said))
    assert difference == -19 and low < difference < high < 0
    assert [low, high] == pytest.approx([expected.low, expected.high], abs=0.005)


def test_worse_than_softmax_is_positive(written, runs):
    records = {**runs("Softmax", *2 * [{"wrong": []}]), **runs("L-Softmax (m=4)", *2 * [{"wrong": range(50)}])}
    assert written(records)[AGAINST].startswith("+50.00 [+")


def test_runs_that_are_worse_than_softmaxs_mean_are_counted(written, sheet, runs):
    ours = runs("L-Softmax (m=4)", *({"wrong": range(n)} for n in (3, 5, 7)))
    records = {**runs("Softmax", {"wrong": range(4)}, {"wrong": range(6)}), **ours}  # 5 is as good
    assert written(records)[OURS] == "5.00 ± 2.00 (3; 1 worse)" and "worse" not in written(records, "Softmax")[OURS]
    rows = [sheet(records)["Ones", method, "best"] for method in ("L-Softmax (m=4)", "Softmax")]
    assert [row["worse"] for row in rows] == ["1", "0"]


@pytest.mark.parametrize("softmax, ours", [(1, 1), (2, 1), (1, 3)])
def test_a_single_run_has_a_difference_and_no_interval(written, runs, softmax, ours):
    records = runs("Softmax", *softmax * [{"wrong": []}])
    assert written({**records, **runs("L-Softmax (m=4)", *ours * [{"wrong": range(50)}])})[AGAINST] == "+50.00"


def test_as_good_as_softmax_has_no_sign_of_better(written, runs):
    records = {**runs("Softmax", {"wrong": [1, 2]}), **runs("L-Softmax (m=4)", {"wrong": [1, 2]})}
    assert written(records)[AGAINST] == "0.00"


@pytest.mark.parametrize(("value", "said"), [(-0.0049, "0.00"), (0.0051, "+0.01"), (-0.04, "-0.04")])
def test_only_what_is_rounded_to_nothing_has_no_sign(value, said):
    assert _tables.signed(value) == said


def test_a_diverged_run_leaves_the_others_to_compare(written, runs):
    records = {**runs("Softmax", DIVERGED, {"wrong": range(9)}), **runs("L-Softmax (m=4)", {"wrong": range(4)})}
    assert written(records)[AGAINST].startswith("-5.00")


def test_a_run_that_does_not_say_which_images_it_got_wrong_leaves_nothing_to_compare(written, runs):
    ours = runs("L-Softmax (m=4)", {"wrong": range(4)}, {"wrong": None, "test_error": 50.0})
    cells = written({**runs("Softmax", {"wrong": range(9)}, {"wrong": range(8)}), **ours})
    assert cells[OURS].startswith("27.00") and cells[AGAINST] == ""


@pytest.mark.parametrize("softmax", [[], [DIVERGED]], ids=["not run", "diverged"])
def test_without_a_softmax_there_is_nothing_to_compare(written, runs, softmax):
    cells = written({**runs("Softmax", *softmax), **runs("L-Softmax (m=4)", *ERRORS)})
    assert cells[OURS].startswith("7.67") and cells[AGAINST] == ""


def test_softmax_is_not_compared_with_itself(written, runs):
    assert written(runs("Softmax", *ERRORS), "Softmax")[AGAINST] == ""


def test_every_line_of_a_table_has_the_same_cells(table, wanted, runs):
    text = _tables.markdown(table, _tables.collect(wanted, runs("Softmax", ERRORS[0], DIVERGED)), "", "")
    assert {line.count("|") for line in text.splitlines() if line.startswith("|")} == {9}


def test_the_table_says_its_command_and_its_note(table, wanted):
    text = _tables.markdown(table, _tables.collect(wanted, {}), "python this.py", "No claim.")
    assert "`python this.py`" in text and "No claim." in text and text.startswith("# Errors\n")


def test_the_table_says_where_its_numbers_come_from(table, wanted, runs):
    text = _tables.markdown(table, _tables.collect(wanted, runs("Softmax", *ERRORS)), "", "")
    said = ["Abacus, 2 threads", "torch 2.99", "precision fp32", "data " + "d" * 12, "code abc123", "0.30 hours"]
    assert [part for part in said if part not in text] == []


def test_runs_on_different_machines_are_all_named(table, wanted, runs):
    records = runs("Softmax", {"device": "Abacus"}, {"device": "Quipu", "precision": "bf16"})
    text = _tables.markdown(table, _tables.collect(wanted, records), "", "")
    assert "Abacus, 2 threads, Quipu, 2 threads" in text and "bf16, fp32" in text


def test_the_time_of_a_run_in_two_recipes_is_counted_once(table, wanted, made_up):
    runs = [made_up(cell.settings) for cell in wanted if cell.column == "Twos" and cell.seed == 0]
    records = {run["config_sha256"]: run for run in runs}
    text = _tables.markdown(table, _tables.collect(wanted, records), "", "")
    assert len(runs) == 4 and "0.20 hours" in text  # two rows, 360 s each


def test_a_table_without_runs_says_so(table, wanted):
    assert "No run of this table has been made yet." in _tables.markdown(table, _tables.collect(wanted, {}), "", "")


def test_the_csv_has_mean_deviation_count_and_values(sheet, runs):
    line = sheet(runs("L-Softmax (m=4)", *ERRORS))["Ones", "L-Softmax (m=4)", "best"]
    assert float(line["mean"]) == pytest.approx(23 / 3) and line["n"] == "3" and line["values"] == "[8.0, 5.0, 10.0]"
    assert float(line["std"]) == pytest.approx(statistics.stdev([8, 5, 10])) and line["paper"] == "7.58"


def test_the_csv_has_the_differences_to_the_paper_and_to_softmax_with_its_interval(sheet, runs):
    softmax, ours = [{"wrong": range(20)}, {"wrong": range(24)}], [{"wrong": range(4)}, {"wrong": range(2)}]
    masks = [torch.tensor([[n < len(run["wrong"]) for n in range(100)] for run in way]) for way in (ours, softmax)]
    line = sheet({**runs("Softmax", *softmax), **runs("L-Softmax (m=4)", *ours)})["Ones", "L-Softmax (m=4)", "best"]
    found = [float(line[word]) for word in ("difference", "against_softmax", "low", "high")]
    assert found == pytest.approx([3 - 7.58, *paired_difference(*masks)])


def test_the_csv_counts_diverged_and_collapsed_runs(sheet, runs):
    line = sheet(runs("L-Softmax (m=4)", DIVERGED, COLLAPSED, DIVERGED))["Ones", "L-Softmax (m=4)", "best"]
    assert (line["n"], line["diverged"], line["collapsed"], line["mean"]) == ("1", "2", "1", "90.0")


def test_the_csv_has_a_line_for_rows_that_were_not_run(sheet):
    line = sheet({})["Twos", "Softmax", "paper"]
    assert (line["n"], line["mean"], line["std"], line["paper"]) == ("0", "", "", "")


def test_every_line_of_the_csv_has_as_many_fields_as_its_head(table, wanted):
    text = _tables.comma_separated(table, _tables.collect(wanted, {}))
    assert {len(line) for line in csv.reader(io.StringIO(text))} == {16}
