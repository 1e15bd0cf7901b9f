"""Table 5: faces. Its file against the paper, what its runs are, and a table whose numbers are verification."""

import json
from pathlib import Path

import pytest

from configs import compose
from configs.settings import identity
from scripts import _tables
from scripts._metric import METRICS
from scripts._plan import RECIPES, cells, read_profile, read_table, table_note

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "published_results.json").read_text())
LOSSES = {
    "Softmax": ["loss=softmax"],
    "Softmax + Contrastive": ["loss=contrastive"],
    **{f"L-Softmax (m={m})": ["loss=lsoftmax", f"loss.m={m}"] for m in (2, 3, 4)},
}
PROFILES = ("full", "small", "tiny")
MARGIN_ON = {"paper": "schedule.margin_on=all", "best": "schedule.margin_on=winners"}


@pytest.fixture(scope="module")
def planned():
    """(profile, row, recipe) -> the settings of seed 0."""
    table = read_table("5")
    return {
        (profile, cell.row, cell.recipe): cell.settings
        for profile in PROFILES
        for cell in cells(table, read_profile(profile), 1)
    }


def test_the_methods_and_numbers_are_those_of_the_paper_in_its_order():
    table, paper = read_table("5"), GOLDEN["table5_lfw_accuracy"]
    rows = [*table["published"], *table["rows"]]
    assert len(rows) == len(paper)
    for row, entry in zip(rows, paper, strict=True):
        assert row["label"].replace("(m=", "m=").startswith(entry["method"])
        assert row["numbers"] == [entry["accuracy"]]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("row", LOSSES)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_row_is_its_data_set_network_and_loss(planned, profile, row, recipe):
    settings = planned[profile, row, recipe]
    assert settings.dataset.name == ("webface" if profile == "full" else "lfw_dev")
    assert settings.model.name == "face" and (settings.model.width == 1) == (profile == "full")
    assert settings.loss == compose([*LOSSES[row], MARGIN_ON[recipe]]).loss


@pytest.mark.parametrize("row", LOSSES)
def test_the_full_size_is_verified_on_lfw(planned, row):
    best, paper = (planned["full", row, recipe] for recipe in ("best", "paper"))
    assert best.dataset.verify == paper.dataset.verify == ["lfw"]
    assert identity(best) == identity(compose(["experiment=casia_lfw", *LOSSES[row]]))


@pytest.mark.parametrize("row", LOSSES)
def test_the_papers_rate_is_a_tenth_twice_where_the_held_out_error_stops_falling(planned, row):
    settings = planned["full", row, "paper"]
    lr = settings.schedule.lr
    assert (lr.kind, lr.base, lr.factor, lr.minimum) == ("plateau", 0.1, 0.1, 0.001)
    assert settings.dataset.validation == 100  # people, never LFW's
    assert settings.schedule.steps * settings.schedule.batch_size == pytest.approx(30 * 490_000, rel=0.01)
    assert lr.every * settings.schedule.batch_size == pytest.approx(490_000, rel=0.01)


@pytest.mark.parametrize("row", LOSSES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_small_form_is_view_1_with_the_decay_it_was_run_with(planned, row, recipe):
    asked = ["experiment=lfw_view1", "schedule.weight_decay=0.005", *LOSSES[row], MARGIN_ON[recipe]]
    assert identity(planned["small", row, recipe]) == identity(compose(asked))


def test_what_a_profile_replaces_is_not_in_the_command():
    [cell] = [c for c in cells(read_table("5"), read_profile("small"), 1, ("best",)) if c.row == "L-Softmax (m=2)"]
    view_1 = ["experiment=lfw_view1", "schedule=lfw_dev", "schedule.weight_decay=0.005", "dataset.validation=0"]
    assert sorted(cell.overrides) == sorted([*view_1, "loss.m=2", "seed=0"])


def test_the_small_form_says_that_it_is_another_protocol():
    table = read_table("5")
    assert "View 1" in table_note(table, "small") and "no claim about the paper. " in table_note(table, "small")
    assert "View 1" not in table_note(table, "full") and "PCA" in table_note(table, "full")


def test_what_is_true_of_one_size_is_said_of_it_alone():
    full, small = (table_note(read_table("5"), profile) for profile in ("full", "small"))
    assert "looks at the training loss" in full and "looks at the training loss" not in small


def test_a_table_may_say_what_its_recipes_are():
    metric = METRICS["verification"]
    run = {"seconds": 1, "config_sha256": "a", "device": "x", "threads": 1, "precision": "fp32", "dataset_sha256": "b"}
    run["versions"] = {"torch": "2", "git": "c"}
    said = [_tables.provenance([run], metric, recipes)[0] for recipes in ("`paper` is so", "`paper` is else")]
    assert "`paper` is so. " in said[0] and "`paper` is so" not in said[1]
    assert "all samples" in read_table("5")["recipes"] and "recipes" not in read_table("3")


def test_the_small_form_of_a_table_begins_with_the_profiles_note():
    assert table_note(read_table("2"), "small").startswith("Reduced form `small`")


# Numbers that are accuracies.


@pytest.fixture
def wanted(elsewhere):
    return list(cells(read_table("5"), {}, 3, ("best",)))


@pytest.fixture
def runs(wanted, made_up):
    """runs(row, wrong pairs per seed, ...) -> records with 100 pairs, after as many of people held out."""

    def make(row, *wrong):
        of = [cell for cell in wanted if cell.row == row]
        found = {}
        for cell, pairs in zip(of, wrong, strict=False):
            verification = {"held_out": judged(range(99)), "lfw": judged(pairs)}
            record = made_up(cell.settings, wrong=[1, 2], verification=verification)
            found[record["config_sha256"]] = record
        return found

    return make


def judged(wrong):
    return {"pairs": 100, "accuracy": 1 - len(wrong) / 100, "wrong_pairs": list(wrong)}


def line(records, wanted, row):
    results = _tables.collect([*wanted, *cells(read_table("5"), {}, 3, ("paper",))], records)
    text = _tables.markdown(read_table("5"), results, "", "")
    [found] = [line for line in text.splitlines() if line.startswith(f"| **{row}**")]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_the_number_is_the_accuracy_on_the_pairs_to_report(wanted, runs):
    said = line(runs("L-Softmax (m=4)", range(8), range(5), range(11)), wanted, "L-Softmax (m=4)")
    assert said[5] == "92.00 ± 3.00 (3)" and said[6] == "-6.71"


def test_better_than_softmax_is_positive(wanted, runs):
    records = {**runs("Softmax", range(20), range(20)), **runs("L-Softmax (m=4)", range(4), range(4))}
    assert line(records, wanted, "L-Softmax (m=4)")[7].startswith("+16.00 [+")


def test_worse_than_softmax_is_negative(wanted, runs):
    records = {**runs("Softmax", range(4), range(4)), **runs("L-Softmax (m=4)", range(50), range(50))}
    assert line(records, wanted, "L-Softmax (m=4)")[7].startswith("-46.00 [-")


@pytest.mark.parametrize(("train_error", "said"), [(40.0, "92.00 (1)"), (46.0, "92.00 (1; 1 collapsed)")])
def test_a_train_error_alone_collapses_no_run_below_half_of_chance(wanted, runs, train_error, said):
    records = {**runs("Softmax", range(20)), **runs("L-Softmax (m=4)", range(8))}  # 10 classes: half of chance is 45
    records = {key: {**run, "train_error": train_error if "m" in run["loss"] else 0.0} for key, run in records.items()}
    assert line(records, wanted, "L-Softmax (m=4)")[5] == said


def test_a_run_that_was_not_verified_has_no_number(wanted, runs):
    records = runs("Softmax", [])
    for record in records.values():
        record["verification"] = None
    assert line(records, wanted, "Softmax")[5] == "no number"


def test_the_table_says_what_its_numbers_are(wanted, runs):
    results = _tables.collect([*wanted, *cells(read_table("5"), {}, 3, ("paper",))], runs("Softmax", [1]))
    text = _tables.markdown(read_table("5"), results, "", "")
    assert "pairs that the last step's network judges rightly" in text and "over seeds and pairs" in text
    assert "Test error" not in text


@pytest.mark.parametrize("number", ["2", "3", "4", "5"])
def test_every_table_has_a_metric(number):
    assert METRICS[read_table(number)["metric"]].better == ("higher" if number == "5" else "lower")


def test_recipes_that_set_people_apart_differently_have_data_of_their_own(made_up, elsewhere):
    """`paper` holds 100 people out: another digest, and no runs on other data."""
    asked = list(cells(read_table("5"), {}, 1))
    records = {}
    for cell in asked:
        verification = {"held_out": judged(range(99)), "lfw": judged([1])}
        digest = ("a" if cell.recipe == "paper" else "b") * 64
        record = made_up(cell.settings, wrong=[1, 2], verification=verification, dataset_sha256=digest)
        records[record["config_sha256"]] = record
    assert _tables.left_out(asked, records) == 0
    assert all(len(runs) == 1 for runs in _tables.collect(asked, records).values())
    odd = next(key for key, record in records.items() if record["dataset_sha256"] == "b" * 64)
    records[odd]["dataset_sha256"] = "c" * 64
    assert _tables.left_out(asked, records) == 1
