"""When the accuracies of the folds scatter more than draws of equal pairs do: the warning's own arithmetic."""

import math

import pytest
import torch

from lsoftmax.metrics import FoldWarning
from lsoftmax.metrics.folds import check_deviation


def folds_with_chi_square(value: float, folds: int = 10, size: int = 600, mean: float = 0.9):
    """Half of the folds above `mean` and half below, as far as makes the sum of squared deviations `value`."""
    off = math.sqrt(value / folds * mean * (1 - mean) / size)
    accuracies = torch.tensor([mean + off, mean - off] * (folds // 2), dtype=torch.float64)
    return accuracies, torch.arange(folds).repeat_interleave(size)


@pytest.mark.parametrize("folds", [2, 10])
def test_the_warning_comes_six_standard_deviations_above_the_mean_of_chi_square(folds, recwarn):
    limit = (folds - 1) + 6 * math.sqrt(2 * (folds - 1))
    check_deviation(*folds_with_chi_square(limit - 0.01, folds))
    assert not recwarn
    with pytest.warns(FoldWarning, match="wrong folds"):
        check_deviation(*folds_with_chi_square(limit + 0.01, folds))


def test_it_says_how_many_times_chance_they_scatter():
    with pytest.warns(FoldWarning, match=r"scatter 3\.0 times as much as chance explains"):
        check_deviation(*folds_with_chi_square(9 * 9.0))


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_folds_that_are_all_wrong_or_all_right_do_not_scatter(accuracy, recwarn):
    check_deviation(torch.full((3,), accuracy, dtype=torch.float64), torch.tensor([0, 1, 2, 2]))
    assert not recwarn
