"""scripts/report.py: one page that holds everything, with the state of every row."""

import base64
import re
from html.parser import HTMLParser

import pytest
import report
import torch

from lsoftmax.metrics import paired_difference
from scripts import _figures, _records
from scripts._plan import cells, figure_cells, names, read_figure, read_profile, read_study, read_table

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Texts of the cells by row, addresses of pictures; AssertionError where a tag is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.addresses += [value for key, value in attributes if key in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if any(tag in ("td", "th") for tag in self.open):
            self.rows[-1][-1] += data

    def lines(self, method: str) -> list[list[str]]:
        return [row for row in self.rows if row[0] == method]


@pytest.fixture
def page(script, elsewhere):
    """page(option, ...) -> the page that is written."""

    def write(*options: str) -> Page:
        assert script("report", *options).code == 0
        [path] = elsewhere.glob("*/report.html")
        return Page(path.read_text())

    return write


@pytest.fixture
def kept(made_up, elsewhere):
    """Records of Table 2 at full size: two seeds of softmax, a diverged run of m = 4."""
    for cell in cells(read_table("2"), {}, 2, ("best",)):
        if cell.row == "Softmax":
            _records.keep(made_up(cell.settings, range(3 + cell.seed)), "full")
        elif cell.row == "L-Softmax (m=4)" and cell.seed == 0:
            _records.keep(made_up(cell.settings, None, status="diverged", test_error=None, train_error=None), "full")


STATE, OURS = 3, 4


def test_without_records_every_row_is_not_run(page):
    states = {row[STATE] for row in page("profile=full").rows if row[2] in ("paper", "best")}
    assert states == {"not run"}


def test_every_row_of_every_table_stands_in_the_page(page):
    rows = page("profile=full").rows
    for number in names("table"):
        table = read_table(number)
        for row in (*table["published"], *table["rows"]):
            assert any(line[0] == row["label"] for line in rows), row["label"]


def test_a_row_says_its_numbers_and_how_many_runs_there_are(page, kept):
    line = page("profile=full").lines("Softmax")[1]
    assert line[:4] == ["Softmax", "0.40", "best", "done 2/3"] and line[OURS].startswith("3.50 ± 0.71")


def test_a_row_says_its_differences_to_the_paper_and_to_softmax(page, kept, made_up):
    for cell in cells(read_table("2"), {}, 2, ("best",)):
        if cell.row == "L-Softmax (m=4)" and cell.seed < 2:
            _records.keep(made_up(cell.settings, range(20 + cell.seed)), "full")
    line = page("profile=full").lines("L-Softmax (m=4)")[1]
    softmax, ours = (torch.tensor([[n < wrong for n in range(100)] for wrong in way]) for way in ((3, 4), (20, 21)))
    found = paired_difference(ours, softmax)
    assert line[OURS:] == ["20.50 ± 0.71", f"{20.5 - 0.31:+.2f}", f"+17.00 [{found.low:+.2f}, {found.high:+.2f}]"]


def test_a_diverged_run_is_done_and_said(page, kept):
    line = page("profile=full").lines("L-Softmax (m=4)")[1]
    assert line[STATE] == "done 1/3, 1 diverged" and line[OURS] == ""


def test_a_run_that_was_rescued_is_counted_once(page, made_up, elsewhere):
    cell = next(cell for cell in cells(read_table("2"), {}, 1, ("best",)) if cell.row == "L-Softmax (m=4)")
    _records.keep(made_up(cell.settings, range(3), divergences=[{"step": 5}]), "full")
    assert page("profile=full").lines("L-Softmax (m=4)")[1][STATE] == "done 1/3, 1 diverged"


def test_another_number_of_seeds(page, kept):
    assert page("profile=full", "seeds=2").lines("Softmax")[1][STATE] == "done 2/2"


def test_a_row_of_a_figure_says_how_many_runs_there_are(script, elsewhere, made_up):
    [cell, *_] = figure_cells(read_figure("2"), read_profile("full"), 3)
    _records.keep(made_up(cell.settings), "full")
    script("report", "profile=full")
    [path] = elsewhere.glob("*/report.html")
    assert re.search(f"{re.escape(f'{cell.column}, {cell.row}: ')}(<[^>]*>)?done 1/3", path.read_text())


def test_the_page_counts_the_runs_on_other_data_that_a_table_leaves_out(script, elsewhere, made_up):
    [cell, *_] = cells(read_table("2"), read_profile("full"), 1)
    _records.keep(made_up(cell.settings, dataset_sha256="e" * 64), "full")
    script("report", "profile=full")
    [path] = elsewhere.glob("*/report.html")
    assert path.read_text().count("Left out: 1 records of runs on other data.") == 1


def test_commands_of_all_tables_and_figures_are_in_the_page(script, elsewhere):
    script("report")
    text = (elsewhere / "results" / "report.html").read_text()
    for kind in ("table", "figure"):
        for name in names(kind):
            assert f"reproduce.py {kind}={name}<" in text and f"reproduce.py {kind}={name} profile=small<" in text


def test_the_page_needs_nothing_but_itself(page, script, elsewhere):
    script("reproduce", "figure=psi")
    addresses = [address for address in page().addresses if not address.startswith("#")]
    assert len(addresses) == 1 and addresses[0].startswith("data:image/svg+xml;base64,")
    picture = base64.b64decode(addresses[0].partition(",")[2])
    assert picture == _figures.paths("psi", "full")["svg"].read_bytes()


def test_the_check_has_a_page_of_its_own(script, elsewhere):
    script("report", "profile=tiny", "seeds=1")
    text = (elsewhere / "small_check" / "report.html").read_text()
    assert "no claim" in text and not (elsewhere / "results").exists()


def test_what_a_record_says_is_text_and_no_markup(made_up, script, elsewhere):
    [cell, *_] = cells(read_table("2"), read_profile("small"), 1)
    _records.keep(made_up(cell.settings, device="<script>alert(1)</script>"), "small")
    script("report")
    text = (elsewhere / "results" / "report.html").read_text()
    assert "<script" not in text and re.search("&lt;script&gt;", text)


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ("profile=x", "no such profile"),
        ("seeds=0", "seeds must be"),
        ("table=2", "unknown option table=2"),
        ("x", "key=value"),
    ],
)
def test_a_wrong_option_is_one_line(script, elsewhere, option, part):
    said = script("report", option)
    assert said.code == 2 and part in said.err and said.err.count("\n") == 1 and not elsewhere.exists()


def test_help_says_what_it_is_for(script):
    said = script("report", "-h")
    assert said.code == 0 and all(f"{key}=" in said.out for key in report.OWN)


@pytest.mark.parametrize("kept", ["stability", "small"])  # a study's run may be one of the tables'
def test_the_page_holds_every_study(page, made_up, kept):
    cells_of_ways = figure_cells(read_study("ways"), read_profile("small"), 1)
    [cell] = [cell for cell in cells_of_ways if cell.row == "power, floor 5"]  # of faces there is one too
    _records.keep(made_up(cell.settings, val_error=31.5), kept)
    run = [line[1:3] for line in page().lines(cell.row) if line[1] != "not run"]
    assert run == [["1 finished", "31.50 (1)"]]


def test_a_study_has_its_own_figures_and_no_others(script, elsewhere):
    """`decay_mnist_over_mnist` begins as figures of `decay` do."""
    folder = elsewhere / "results" / "stability"
    folder.mkdir(parents=True)
    for name in ("decay_over_cifar10", "decay_mnist_over_mnist", "ways_mnist_traces_mnist"):
        (folder / f"{name}.svg").write_text(f"<svg>{name}</svg>")
    script("report")
    [path] = elsewhere.glob("*/report.html")
    for name in ("decay_over_cifar10", "decay_mnist_over_mnist", "ways_mnist_traces_mnist"):
        assert path.read_text().count(base64.b64encode(f"<svg>{name}</svg>".encode()).decode()) == 1


def test_a_profile_alone_has_no_studies(page):
    assert page("profile=tiny").lines("adaptive 0.7") == []
