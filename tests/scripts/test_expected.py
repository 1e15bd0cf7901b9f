"""What `reproduce.py dry_run=true` expects of a run: the other records' times, by its images and its network."""

from dataclasses import replace

import pytest
import torch

import models
from lsoftmax.engine.device import describe
from scripts import _records
from scripts._expected import by_other_networks, of_the_same_kind
from scripts._plan import cells, read_table

ONCE = ["table=2", "seeds=1"]


@pytest.fixture
def cell(elsewhere):
    return next(cells(read_table("2"), {}, 1))


def steps(cell, share: float) -> dict:
    """Its schedule with this share of its steps."""
    return cell.identity["schedule"] | {"steps": int(cell.identity["schedule"]["steps"] * share)}


def test_runs_of_the_same_kind_count_by_their_images_and_the_median_decides(cell, made_up):
    half, whole = steps(cell, 0.5), steps(cell, 1)
    records = [
        made_up(cell.settings, seconds=100.0, schedule=half),
        made_up(cell.settings, seconds=300.0, schedule=whole),
        made_up(cell.settings, seconds=9000.0, schedule=whole),
    ]
    assert of_the_same_kind(cell, records, "Abacus") == (pytest.approx(300), "Abacus")


def test_runs_on_this_device_come_first(cell, made_up):
    there, here = (
        made_up(cell.settings, seconds=seconds, device=of) for seconds, of in ((1.0, "Card"), (9.0, "Abacus"))
    )
    assert of_the_same_kind(cell, [there, here], "Abacus") == (pytest.approx(9), "Abacus")
    assert of_the_same_kind(cell, [there], "Abacus") == (pytest.approx(1), "Card")


def test_a_run_that_stopped_before_its_last_step_tells_nothing(cell, made_up):
    assert of_the_same_kind(cell, [made_up(cell.settings, seconds=10.0, status="diverged")], "Abacus") is None


@pytest.mark.parametrize("other", [{"model": {"width": 7}}, {"dataset": {"name": "other"}}])
def test_runs_of_another_network_or_other_data_are_not_of_the_same_kind(cell, made_up, other):
    assert of_the_same_kind(cell, [made_up(cell.settings, **other)], "Abacus") is None


def test_the_fastest_other_network_decides_by_its_multiply_adds(cell, made_up):
    backbone = models.multiply_adds(models.build(image_shape=(1, 28, 28), **cell.identity["model"]), (1, 28, 28))
    records = [
        made_up(cell.settings, seconds=50.0, multiply_adds=backbone // 2),
        made_up(cell.settings, seconds=80.0, multiply_adds=backbone // 2),
        made_up(cell.settings, seconds=1.0, multiply_adds=backbone, device="another"),
        made_up(cell.settings, seconds=1.0, multiply_adds=backbone, status="diverged"),
    ]
    assert by_other_networks(cell, records, "Abacus") == pytest.approx(100, rel=1e-6)


def test_a_device_without_a_finished_run_tells_nothing(cell, made_up):
    records = [made_up(cell.settings, multiply_adds=1, device="another")]
    assert by_other_networks(cell, records, "Abacus") is None


def test_nothing_is_known_of_a_network_for_images_of_unknown_shape(cell, made_up):
    dataset = replace(cell.settings.dataset, name="mine")
    mine = replace(cell, settings=replace(cell.settings, dataset=dataset))
    assert by_other_networks(mine, [made_up(cell.settings, multiply_adds=1)], "Abacus") is None


# The whole command, with runs that are made up at once.


def test_dry_run_estimates_the_time_from_records_of_the_same_kind(script, trained, count):
    assert script("reproduce", *ONCE).code == 0
    said = script("reproduce", "table=2", "seeds=2", "dry_run=true").out
    assert said.count("about 6 min") == count and "unknown" not in said
    assert said.rstrip().endswith(f"about {6 * count} min in all, one after another")


def test_without_them_the_time_is_reckoned_from_other_networks_on_the_device(script, trained, elsewhere, made_up):
    """One like it in all but the data, half of Table 2's images in 5 minutes, on a device of which there are two."""
    [like, *_] = cells(read_table("2"), {}, 1)
    half = like.identity["schedule"] | {"steps": like.identity["schedule"]["steps"] // 2}
    other = like.identity["dataset"] | {"train_images": 7}
    backbone = models.multiply_adds(models.build(image_shape=(1, 28, 28), **like.identity["model"]), (1, 28, 28))
    here = describe(torch.device("cpu"))
    for seconds, device in ((300.0, here), (400.0, here), (30.0, "another")):
        what = {"dataset": other, "schedule": half, "seconds": seconds, "device": device, "multiply_adds": backbone}
        _records.keep(made_up(like.settings, **what, config_sha256=f"{seconds:064.0f}", seed=int(seconds)), "small")
    said = script("reproduce", *ONCE, "dry_run=true", "device=cpu").out
    assert said.count("some 10 min, by other networks' speed") > 1 and "unknown" not in said


def test_the_time_is_unknown_without_such_records(script, trained, count):
    assert script("reproduce", *ONCE, "dry_run=true").out.count("time unknown") == count
