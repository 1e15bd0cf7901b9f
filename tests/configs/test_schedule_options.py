"""No dead option of a schedule: each key reaches the plan, or is refused."""

from dataclasses import asdict
from typing import Any

import pytest
import torch

from assemble import make_options, make_plan
from configs import ConfigError, compose
from configs.schema import Schedule, Settings, all_keys
from lsoftmax import AdaptiveLambda, PiecewiseLR, PlateauLR

from .conftest import changed


def told(settings: Settings) -> list[Any]:
    plan = make_plan(settings)
    steps = (0, 1, 5, 50, 700, 13_000)
    numbers = [plan.steps, plan.batch_size, plan.momentum, plan.weight_decay, plan.classifier_lr_factor]
    lambdas = follow(plan.lam) if isinstance(plan.lam, AdaptiveLambda) else [plan.lam(step) for step in steps]
    rates = look(plan.lr) if isinstance(plan.lr, PlateauLR) else [plan.lr(step) for step in steps]
    return [*numbers, plan.classifier_weight_decay, *rates, *lambdas]


def look(lr: PlateauLR) -> list[float]:
    """At the beginning, and after looks at an error that does not fall."""
    rates = [lr(0)]
    for step in range(0, 8000, 500):
        if lr.is_due(step):
            lr.update(step, 1.0)
        rates.append(lr(step))
    return rates


def follow(lam: AdaptiveLambda) -> list[float]:
    """At the beginning, and after a batch whose samples need 0 to 9."""
    first = float(lam.lam)
    lam.update(torch.arange(10.0), class_norms=torch.tensor([0.1, 1.0, 1.9]))
    return [first, float(lam.lam)]


SCHEDULE = {
    "schedule.steps": "7",
    "schedule.batch_size": "9",
    "schedule.lr.kind": "plateau",
    "schedule.lr.base": "0.2",
    "schedule.lr.milestones": "[5]",
    "schedule.lr.factor": "0.5",
    "schedule.lr.every": "2000",
    "schedule.lr.patience": "0",
    "schedule.lr.minimum": "0.05",
    "schedule.lam.kind": "constant",
    "schedule.lam.base": "7",
    "schedule.lam.gamma": "0.1",
    "schedule.lam.power": "1",
    "schedule.lam.minimum": "500",
    "schedule.lam.delay": "10",
    "schedule.lam.accuracy": "0.9",
    "schedule.lam.rate": "0.5",
    "schedule.lam.guard": "0.5",
    "schedule.momentum": "0.5",
    "schedule.weight_decay": "0.1",
    "schedule.classifier.lr_factor": "2",
    "schedule.classifier.weight_decay": "0.2",
}


def test_every_key_of_the_schedule_is_changed_below() -> None:
    """But for `gradient` and `margin_on`, which the loss's follow."""
    assert {*SCHEDULE, "schedule.gradient", "schedule.margin_on"} == {
        key for key in all_keys() if key.startswith("schedule.")
    }


ADAPTIVE = "schedule.lam.kind=adaptive"


OF_ADAPTIVE = ("schedule.lam.accuracy", "schedule.lam.rate", "schedule.lam.guard")


PLATEAU = ("schedule.lr.kind=plateau", "dataset.validation=4")


OF_PLATEAU = ("schedule.lr.every", "schedule.lr.patience", "schedule.lr.minimum")


BY_STEP = [key for key in SCHEDULE if key not in (*OF_ADAPTIVE, *OF_PLATEAU, "schedule.lr.kind")]


def test_the_rate_may_be_by_step_or_by_plateau(small: Settings) -> None:
    assert isinstance(make_plan(changed(*PLATEAU)).lr, PlateauLR) and isinstance(make_plan(small).lr, PiecewiseLR)


@pytest.mark.parametrize("key", [*OF_PLATEAU, "schedule.lr.base", "schedule.lr.factor"])
def test_every_key_of_a_plateau_reaches_the_plan(key: str) -> None:
    assert told(changed(*PLATEAU, f"{key}={SCHEDULE[key]}")) != told(changed(*PLATEAU))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["schedule.lr.kind=plateau"], "kind=plateau looks at held-out data: dataset.validation must be > 0"),
        (
            [*PLATEAU, "schedule.lr.every=1000000"],
            "schedule.lr.every must be < schedule.steps [0-9]+ for kind=plateau, got 1000000",
        ),
        (
            ["schedule.lr.factor=1e200"],
            "schedule.lr.factor must leave a learning rate below 1e30 at the end, got 1e.200",
        ),
        ([*PLATEAU, "schedule.lr.factor=1"], "schedule.lr.factor must be < 1 for schedule.lr.kind=plateau, got 1.0"),
        ([*PLATEAU, "schedule.lr.minimum=0.5"], "schedule.lr.minimum must be <= schedule.lr.base 0.1, got 0.5"),
    ],
)
def test_what_a_plateau_cannot_be_is_one_line(options: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"{message}$"):
        changed(*options)


def test_a_rate_that_rises_is_reckoned_over_all_its_milestones() -> None:
    changed("schedule.lr.factor=1e16", "schedule.lr.milestones=[1]")
    with pytest.raises(ConfigError, match="schedule.lr.factor must leave a learning rate below 1e30"):
        changed("schedule.lr.factor=1e16", "schedule.lr.milestones=[1,2]")


def test_a_plateau_may_keep_its_rate_but_has_to_look_once() -> None:
    changed(*PLATEAU, "schedule.lr.base=0.1", "schedule.lr.minimum=0.1", "schedule.steps=50", "schedule.lr.every=49")
    with pytest.raises(ConfigError, match="schedule.lr.every must be < schedule.steps 50"):
        changed(*PLATEAU, "schedule.steps=50", "schedule.lr.every=50")


@pytest.mark.parametrize("key", BY_STEP)
def test_every_key_of_the_schedule_reaches_the_plan(small: Settings, key: str) -> None:
    assert told(changed(f"{key}={SCHEDULE[key]}")) != told(small)


@pytest.mark.parametrize("key", [*OF_ADAPTIVE, "schedule.lam.base", "schedule.lam.minimum"])
def test_every_key_of_an_adaptive_lambda_reaches_the_plan(key: str) -> None:
    option = {**SCHEDULE, "schedule.lam.minimum": "950"}[key]  # the first step after 1000 stays above 500
    assert told(changed(ADAPTIVE, f"{key}={option}")) != told(changed(ADAPTIVE))


@pytest.mark.parametrize(("base", "minimum", "lam"), [(1000, 0, 1000), (7, 0, 7), (7, 9, 9), (5000, 0, 5000)])
def test_an_adaptive_lambda_begins_at_its_base(base: float, minimum: float, lam: float) -> None:
    plan = make_plan(changed(ADAPTIVE, f"schedule.lam.base={base}", f"schedule.lam.minimum={minimum}"))
    assert isinstance(plan.lam, AdaptiveLambda) and float(plan.lam.lam) == pytest.approx(lam)


def test_an_adaptive_lambda_that_begins_low_may_rise() -> None:
    lam = make_plan(changed(ADAPTIVE, "schedule.lam.base=1", "schedule.lam.rate=1")).lam
    assert isinstance(lam, AdaptiveLambda)
    lam.update(torch.full((3,), torch.inf))
    assert float(lam.lam) == pytest.approx(1000)


def test_two_plans_share_no_controller() -> None:
    assert make_plan(changed(ADAPTIVE)).lam is not make_plan(changed(ADAPTIVE)).lam


@pytest.mark.parametrize("key", ["schedule.lam.base", "schedule.lam.minimum"])
def test_an_infinite_adaptive_lambda_is_one_line(key: str) -> None:
    with pytest.raises(ConfigError, match=f"^{key} must be finite for schedule.lam.kind=adaptive, got inf$"):
        changed(ADAPTIVE, f"{key}=inf")


def test_a_constant_lambda_is_its_base() -> None:
    lam = make_plan(changed("schedule.lam.kind=constant", "schedule.lam.base=3")).lam
    assert [lam(step) for step in (0, 1, 10_000)] == [3, 3, 3]


def test_a_lambda_with_base_0_is_none() -> None:
    lam = make_plan(changed("schedule.lam.base=0")).lam
    assert [lam(step) for step in (0, 10_000)] == [0, 0]


def test_the_plan_has_no_option_that_the_schedule_lacks() -> None:
    assert len(asdict(make_plan(compose()))) == 8
    assert {item for item in asdict(compose().schedule)} == set(Schedule.__dataclass_fields__)


def test_an_adaptive_lambda_waits_for_its_delay():
    lam = make_plan(compose(["schedule.lam.kind=adaptive", "schedule.lam.delay=2"])).lam
    first, *later = (follow(lam)[1] for _ in range(3))
    assert first == later[0] == pytest.approx(1000) and later[1] < 990


def test_a_constant_lambda_keeps_its_floor():
    lam = make_plan(compose(["schedule.lam.kind=constant", "schedule.lam.base=2", "schedule.lam.minimum=5"])).lam
    assert [lam(step) for step in (0, 599)] == [5, 5]


@pytest.mark.parametrize(("steps", "every"), [(1000, 50), (19, 1)])
def test_twenty_evaluations_are_spread_over_a_run(steps, every):
    assert make_options(compose([f"schedule.steps={steps}", "schedule.lr.milestones=[]"])).eval_every == every
