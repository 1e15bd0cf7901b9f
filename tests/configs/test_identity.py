"""What makes a run what it is: data, network, loss, schedule, start and seed, and nothing of how it is executed."""

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

from configs import ROOT, compose, schema
from configs.schema import UNUSED_BY, UNUSED_BY_LR, Lambda, LearningRate, Settings
from configs.settings import identity, identity_of
from lsoftmax.engine.folder import identity_sha256
from scripts import _plan

ASKED = {"dataset", "model", "loss", "schedule", "init_from", "seed"}


def test_what_was_asked_is_data_network_loss_schedule_weights_and_seed(default: Settings) -> None:
    asked = {key: value for key, value in asdict(default).items() if key in ASKED}
    del asked["dataset"]["check_integrity"]
    for name in ("train_part", "first_class"):
        assert asked["dataset"].pop(name) == 0  # goes without saying
    del asked["schedule"]["gradient"], asked["schedule"]["margin_on"]  # they are in the loss
    assert asked["loss"].pop("margin_on") == "all"  # goes without saying
    for name in ("accuracy", "rate", "guard"):  # of an adaptive lambda
        del asked["schedule"]["lam"][name]
    asked["schedule"]["lr"] = {name: asked["schedule"]["lr"][name] for name in ("base", "milestones", "factor")}
    assert identity(default) == asked


def test_how_files_are_checked_is_not_what_was_asked() -> None:
    assert identity(compose(["dataset.check_integrity=false"])) == identity(compose([]))


KEPT = {
    "power": {"kind", "base", "gamma", "power", "minimum", "delay"},
    "constant": {"kind", "base", "gamma", "power", "minimum", "delay"},
    "adaptive": {"kind", "base", "minimum", "delay", "accuracy", "rate", "guard"},
}


@pytest.mark.parametrize("kind", KEPT)
def test_what_a_kind_of_lambda_takes_no_notice_of_is_not_what_was_asked(kind: str) -> None:
    asked = identity(compose([f"schedule.lam.kind={kind}", "schedule.lam.guard=0.5"]))["schedule"]["lam"]
    assert asked.keys() == KEPT[kind]


def test_no_guard_is_what_was_asked_before_there_was_one() -> None:
    adaptive = "schedule.lam.kind=adaptive"
    plain, guarded = (identity(compose([adaptive, *more])) for more in ([], ["schedule.lam.guard=0.5"]))
    assert plain["schedule"]["lam"] == {k: v for k, v in guarded["schedule"]["lam"].items() if k != "guard"}


@pytest.mark.parametrize("kind", KEPT)
def test_every_kind_of_lambda_says_what_it_takes_no_notice_of(kind: str) -> None:
    assert set(UNUSED_BY[kind]) == {item.name for item in fields(Lambda)} - KEPT[kind]


def test_a_rate_by_plateau_is_asked_with_its_own_keys() -> None:
    asked = identity(compose(["schedule.lr.kind=plateau", "dataset.validation=100"]))["schedule"]["lr"]
    assert asked.keys() == {item.name for item in fields(LearningRate)} - {"milestones"}
    assert set(UNUSED_BY_LR["step"]) == asked.keys() - {"base", "factor"}


def test_the_controllers_options_are_what_was_asked_of_an_adaptive_lambda() -> None:
    asked = [["schedule.lam.kind=adaptive", option] for option in ("seed=0", "schedule.lam.accuracy=0.8")]
    first, second = (identity(compose(options)) for options in asked)
    assert first != second


RECORDS = [json.loads(path.read_text()) for path in (ROOT / "outputs" / "results" / "small" / "runs").glob("*.json")]


def test_the_committed_runs_are_still_what_the_tables_and_figures_ask_for() -> None:
    """An option that comes in later must not change what an old run was."""
    profile, seeds = _plan.read_profile("small"), 1 + max(record["seed"] for record in RECORDS)
    plans = [_plan.read_table(name) for name in ("2", "3", "4", "5")]
    asked = [cell for plan in plans for cell in _plan.cells(plan, profile, seeds)]
    for name in _plan.names("figure"):
        asked += _plan.figure_cells(_plan.read_figure(name), profile, seeds)
    wanted = {identity_sha256(cell.identity) for cell in asked}
    assert len(RECORDS) >= 18 and {identity_sha256(identity_of(record)) for record in RECORDS} <= wanted


def test_a_run_is_known_by_the_gradient_of_its_loss_alone() -> None:
    asked = [identity(compose([f"{key}.gradient=norms_live"])) for key in ("loss", "schedule")]
    assert asked[0] == asked[1] and "gradient" not in asked[0]["schedule"]


def test_every_setting_is_either_asked_or_outside(default: Settings) -> None:
    assert asdict(default).keys() - ASKED == {"trainer", "device", "data_root", "data_download", "run_dir"}


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"data_root": "x"}, {"data_download": False}, {"run_dir": "x"}])
def test_where_and_with_what_a_run_is_executed_is_not_what_was_asked(default: Settings, change: dict[str, Any]) -> None:
    assert identity(replace(default, **change)) == identity(default)


def test_trainer_options_are_not_what_was_asked(default: Settings) -> None:
    assert identity(compose(["trainer=fast", "trainer.eval_every=7"])) == identity(default)


@pytest.mark.parametrize("typed", ["outputs/runs/a/", "./outputs/runs/a", str(ROOT / "outputs/runs/a")])
def test_the_run_to_start_from_is_the_same_however_it_is_typed(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert identity(compose([f"init_from={typed}"])) == identity(compose(["init_from=outputs/runs/a"]))


def test_the_run_to_start_from_is_another_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = compose(["init_from=run"])
    asked = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        asked.append(identity(settings)["init_from"])
    assert asked == [str(tmp_path / name / "run") for name in ("a", "b")]


def test_what_was_asked_is_json(default: Settings) -> None:
    assert json.loads(json.dumps(identity(default), allow_nan=False)) == identity(default)


@pytest.mark.parametrize("written", ["schedule.lr.base=1", "schedule.lr.base=1.0", "schedule.lr.base=1e0"])
def test_a_number_is_the_same_however_it_is_written(written: str) -> None:
    base = compose([written]).schedule.lr.base
    assert (type(base), base) == (float, 1.0)


@pytest.mark.parametrize("loss", ["lsoftmax", "asoftmax"])
def test_with_one_lambda_is_part_of_what_was_asked(loss: str) -> None:
    asked = [identity(compose([f"loss={loss}", f"schedule.lam.base={base}"])) for base in (7, 8)]
    assert asked[0] != asked[1]


def test_an_older_record_of_softmax_is_the_same_run() -> None:
    asked = identity(compose(["loss=softmax"]))
    older = asked | {"schedule": asked["schedule"] | {"lam": {"kind": "power", "base": 1000.0}}, "test_error": 1.0}
    assert identity_of(older) == asked


@dataclass
class OwnMargin(schema.LSoftmax):
    """A loss of one's own with a lambda and one more option."""

    smoothing: float = 0.1


def test_the_lambda_of_an_annealed_loss_of_ones_own_is_part_of_the_run(monkeypatch):
    monkeypatch.setitem(schema.LOSSES, "own", OwnMargin)
    plain = compose(["dataset=mnist5k"])
    own = replace(plain, loss=OwnMargin(**(asdict(plain.loss) | {"name": "own"})))
    assert identity_of(identity(own))["schedule"]["lam"] == identity(plain)["schedule"]["lam"]


def test_a_lambda_of_ones_own_needs_no_entry_among_the_unused():
    lam = replace(compose(["dataset=mnist5k"]).schedule.lam, kind="cosine")
    settings = compose(["dataset=mnist5k"])
    settings = replace(settings, schedule=replace(settings.schedule, lam=lam))
    assert identity(settings)["schedule"]["lam"]["kind"] == "cosine"
