"""Lambda and the learning rate as functions of the step, against the authors' curves."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsoftmax import LambdaSchedule, PiecewiseLR

CIFAR10 = {"base": 1000.0, "gamma": 0.00002, "power": 45.0}


@pytest.fixture(params=range(4))
def released(golden, request) -> dict:
    return golden("lambda")["schedules"][request.param]


def schedule_of(released: dict) -> LambdaSchedule:
    return LambdaSchedule(released["base"], released["gamma"], released["power"], minimum=released["lambda_min"])


# Lambda


def test_lambda_equals_the_golden_values(released):
    schedule = schedule_of(released)
    for point in released["points"]:
        assert schedule(point["step"]) == pytest.approx(point["lam"], rel=1e-12), point["step"]


def test_the_first_step_counts_as_iteration_1():
    assert LambdaSchedule(**CIFAR10)(0) == pytest.approx(1000 * 1.00002**-45, rel=1e-14)


@given(step=st.integers(0, 10**6), minimum=st.floats(0, 100))
def test_lambda_never_falls_below_its_minimum(step, minimum):
    assert LambdaSchedule(**CIFAR10, minimum=minimum)(step) >= minimum


@given(step=st.integers(0, 10**6), delay=st.integers(0, 10**4))
def test_lambda_never_rises(step, delay):
    schedule = LambdaSchedule(**CIFAR10, minimum=0.1, delay=delay)
    assert schedule(step + 1) <= schedule(step)


@given(step=st.integers(0, 10**5), delay=st.integers(0, 10**4))
def test_a_delay_shifts_the_whole_descent(step, delay):
    assert LambdaSchedule(**CIFAR10, delay=delay)(step + delay) == LambdaSchedule(**CIFAR10)(step)


@pytest.mark.parametrize("step", [0, 1, 99])
def test_lambda_is_the_base_until_the_delay_is_over(step):
    assert LambdaSchedule(**CIFAR10, delay=100)(step) == 1000.0


def test_lambda_is_a_base_below_the_minimum_until_the_delay_is_over():
    schedule = LambdaSchedule(2.0, 0.1, 1, minimum=5.0, delay=10)
    assert (schedule(9), schedule(10)) == (2.0, 5.0)


def test_lambda_starts_to_fall_at_the_delay():
    assert LambdaSchedule(**CIFAR10, delay=100)(100) < 1000.0


@pytest.mark.parametrize("step", [0, 1, 10**9])
def test_without_gamma_lambda_is_constant(step):
    assert LambdaSchedule(5.0, 0.0, 45.0)(step) == 5.0


@pytest.mark.parametrize("step", [0, 1, 10**9])
def test_without_power_lambda_is_constant(step):
    assert LambdaSchedule(5.0, 0.1, 0.0)(step) == 5.0


@pytest.mark.parametrize("step", [0, 10**6])
def test_a_base_of_0_is_the_full_margin(step):
    assert LambdaSchedule(0.0, 0.1, 45.0)(step) == 0.0


@pytest.mark.parametrize("step", [0, 10**6, 10**9])
def test_an_infinite_base_is_no_margin_at_every_step(step):
    # (1 + gamma step)^-power underflows to 0, and inf * 0 is no number.
    assert LambdaSchedule(math.inf, 1.0, 45.0)(step) == math.inf


def test_a_far_step_gives_0_and_no_error():
    assert LambdaSchedule(1000.0, 1.0, 45.0)(10**12) == 0.0


def test_the_schedule_is_a_function_of_the_step_alone():
    schedule = LambdaSchedule(**CIFAR10)
    later = schedule(5000)
    assert [schedule(step) for step in (0, 10_000, 5000)][2] == later


@pytest.mark.parametrize("name", ["base", "gamma", "power", "minimum", "delay"])
@pytest.mark.parametrize("value", [-1, -1e-9, math.nan, "1", None, True])
def test_a_negative_or_missing_number_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be a number >= 0, got {value!r}"):
        LambdaSchedule(**{**CIFAR10, name: value})


def test_a_lambda_schedule_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LambdaSchedule(**CIFAR10).base = 5.0


def test_equal_schedules_are_equal():
    assert LambdaSchedule(**CIFAR10) == LambdaSchedule(**CIFAR10) != LambdaSchedule(**CIFAR10, delay=1)


# The learning rate


@pytest.mark.parametrize(
    "step, lr",
    [(0, 0.1), (1, 0.1), (11_999, 0.1), (12_000, 0.01), (14_999, 0.01), (15_000, 0.001), (18_000, 0.001)],
)
def test_the_papers_learning_rate_falls_tenfold_at_12k_and_15k(step, lr):
    assert PiecewiseLR(0.1, (12_000, 15_000))(step) == pytest.approx(lr, rel=1e-14)


@pytest.mark.parametrize("step", [0, 10**9])
def test_without_milestones_the_learning_rate_is_constant(step):
    assert PiecewiseLR(0.1)(step) == 0.1


def test_the_factor_is_applied_once_per_milestone():
    assert PiecewiseLR(1.0, (1, 2, 3), factor=0.5)(3) == 0.125


@pytest.mark.parametrize("name", ["base", "factor"])
@pytest.mark.parametrize("value", [0, -0.1, math.nan, math.inf])
def test_a_rate_or_factor_that_is_not_positive_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be a number > 0, got {value!r}"):
        PiecewiseLR(**{"base": 0.1, name: value})


@pytest.mark.parametrize("milestones", [(15, 12), (12, 12), (0, 12), (-1,), (12, 15, 14)])
def test_milestones_that_do_not_increase_are_refused(milestones):
    with pytest.raises(ValueError, match="milestones must be increasing steps > 0, got"):
        PiecewiseLR(0.1, milestones)
