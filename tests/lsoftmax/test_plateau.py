"""PlateauLR against its definition, and its state."""

import math

import numpy as np
import pytest

from lsoftmax import PlateauLR


def by_definition(errors, base, factor, patience, minimum):
    """The rate after each look."""
    lr, best, bad, rates = base, math.inf, 0, []
    for error in errors:
        bad = 0 if error < best else bad + 1
        best = min(best, error)
        if bad > patience:
            lr, bad = max(lr * factor, minimum), 0
        rates.append(lr)
    return rates


@pytest.mark.parametrize("patience", [0, 1, 3])
@pytest.mark.parametrize(("factor", "minimum"), [(0.1, 0.001), (0.5, 0.0), (0.1, 1e-12)])
def test_it_falls_where_the_definition_says(patience, factor, minimum):
    errors = np.random.default_rng(patience).integers(0, 40, 60) / 4 + np.linspace(5, 0, 60)
    lr = PlateauLR(0.1, factor=factor, every=10, patience=patience, minimum=minimum)
    rates = []
    for look, error in enumerate(errors, start=1):
        lr.update(10 * look, float(error))
        rates.append(lr(10 * look))
    assert rates == by_definition(errors, 0.1, factor, patience, minimum)
    assert len(set(rates)) > 2


def test_an_error_that_only_equals_the_best_is_no_progress():
    lr = PlateauLR(1.0, every=1, patience=0)
    for step in (1, 2):
        lr.update(step, 5.0)
    assert lr(2) == 0.1


def test_it_looks_once_at_every_so_many_steps_but_not_at_the_beginning():
    lr, looks = PlateauLR(0.1, every=4), []
    for step in range(13):
        for _ in range(2):  # a resumed run asks again
            if lr.is_due(step):
                lr.update(step, 1.0)
                looks.append(step)
    assert looks == [4, 8, 12]


@pytest.mark.parametrize("at", range(12))
def test_it_goes_on_from_its_state(at):
    errors = np.random.default_rng(0).random(12).tolist()
    make = lambda: PlateauLR(0.1, every=3, patience=1)  # noqa: E731
    whole, first, second = make(), make(), make()
    rates = []
    for look, error in enumerate(errors, start=1):
        whole.update(3 * look, error)
        rates.append(whole(0))
    for look, error in enumerate(errors, start=1):
        if look - 1 == at:
            second.load_state_dict(first.state_dict())
            first = second
            assert not first.is_due(3 * (look - 1)) and first.is_due(3 * look)
        first.update(3 * look, error)
        assert first(0) == rates[look - 1]
    assert first.state_dict() == whole.state_dict()


def test_its_state_is_numbers_alone():
    assert all(type(value) in (int, float) for value in PlateauLR(0.1).state_dict().values())


@pytest.mark.parametrize("key", PlateauLR(0.1).state_dict())
def test_a_state_without_one_of_them_is_refused(key):
    state = PlateauLR(0.1).state_dict()
    del state[key]
    with pytest.raises(KeyError, match=key):
        PlateauLR(0.1).load_state_dict(state)


@pytest.mark.parametrize("error", [math.nan, math.inf])
def test_an_error_that_is_none_is_refused(error):
    with pytest.raises(ValueError, match="^error must be a finite number"):
        PlateauLR(0.1).update(1000, error)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"base": 0}, "base"),
        ({"base": math.nan}, "base"),
        ({"base": math.inf}, "base"),
        ({"base": 0.1, "minimum": 0.2}, "base"),
        ({"base": 0.1, "minimum": -1}, "minimum"),
        ({"base": 0.1, "factor": 1}, "factor"),
        ({"base": 0.1, "factor": 0}, "factor"),
        ({"base": 0.1, "factor": math.nan}, "factor"),
        ({"base": 0.1, "every": 0}, "every"),
        ({"base": 0.1, "every": 2.0}, "every"),
        ({"base": 0.1, "patience": -1}, "patience"),
        ({"base": 0.1, "patience": True}, "patience"),
    ],
)
def test_a_value_out_of_range_is_named(options, name):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        PlateauLR(**options)
