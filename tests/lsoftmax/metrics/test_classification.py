"""Error rates against straightforward loops."""

import math

import pytest
import torch

from lsoftmax.metrics import confusion_matrix, error_rate, per_class_error


@pytest.fixture
def answers() -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and labels of 200 samples in 7 classes; class 5 has no sample, class 6 is never predicted."""
    return torch.randint(6, (200,)), torch.tensor([0, 1, 2, 3, 4, 6])[torch.randint(6, (200,))]


def test_the_error_rate_counts_the_misses_in_percent(answers):
    misses = sum(prediction != label for prediction, label in zip(*(a.tolist() for a in answers), strict=True))
    assert error_rate(*answers) == 100 * misses / 200


@pytest.mark.parametrize("wrong, percent", [([], 0.0), ([0], 25.0), ([0, 1, 2, 3], 100.0)])
def test_the_error_rate_of_known_answers(wrong, percent):
    predictions = torch.zeros(4, dtype=torch.int64)
    predictions[wrong] = 1
    assert error_rate(predictions, torch.zeros(4, dtype=torch.int64)) == percent


def test_the_error_rate_is_an_exact_float(answers):
    assert type(error_rate(*answers)) is float
    labels = torch.zeros(3, dtype=torch.int64)
    assert error_rate(torch.tensor([0, 0, 1]), labels) == 100 / 3


def test_the_error_rate_of_nothing_is_refused():
    nothing = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(ValueError, match="no predictions"):
        error_rate(nothing, nothing)


def test_the_confusion_matrix_counts_true_rows_and_predicted_columns(answers):
    expected = [[0] * 7 for _ in range(7)]
    for prediction, label in zip(*(a.tolist() for a in answers), strict=True):
        expected[label][prediction] += 1
    assert confusion_matrix(*answers, 7).tolist() == expected


def test_the_confusion_matrix_has_a_row_for_every_class_even_unseen():
    one = torch.zeros(1, dtype=torch.int64)
    confusion = confusion_matrix(one, one, 3)
    assert confusion.shape == (3, 3) and confusion.dtype == torch.int64 and confusion.sum() == 1


def test_the_confusion_matrix_of_nothing_is_zero():
    nothing = torch.zeros(0, dtype=torch.int64)
    assert torch.equal(confusion_matrix(nothing, nothing, 3), torch.zeros(3, 3, dtype=torch.int64))


def test_the_error_per_class_is_the_share_missed_of_each_true_class(answers):
    predictions, labels = (a.tolist() for a in answers)
    actual = per_class_error(confusion_matrix(*answers, 7)).tolist()
    for c in (0, 1, 2, 3, 4, 6):
        of_class = [p for p, label in zip(predictions, labels, strict=True) if label == c]
        assert actual[c] == pytest.approx(100 * sum(p != c for p in of_class) / len(of_class), abs=1e-12)


def test_the_error_of_a_class_without_samples_is_nan(answers):
    actual = per_class_error(confusion_matrix(*answers, 7))
    assert math.isnan(actual[5]) and actual[6] == 100 and actual.dtype == torch.float64


def test_the_per_class_errors_average_to_the_error_rate_by_class_size(answers):
    confusion = confusion_matrix(*answers, 7)
    errors = per_class_error(confusion).nan_to_num()
    assert (errors * confusion.sum(dim=1)).sum().item() / 200 == pytest.approx(error_rate(*answers))


@pytest.mark.parametrize("prediction, label", [(-1, 1), (2, 0)])
def test_a_prediction_out_of_range_is_not_counted_for_another_class(prediction, label):
    # The pair would otherwise land in a neighbouring row of the matrix.
    with pytest.raises((ValueError, RuntimeError)):
        confusion_matrix(torch.tensor([prediction]), torch.tensor([label]), 2)


def test_shapes_that_differ_are_no_predictions():
    with pytest.raises(ValueError, match=r"predictions \(3,\) and labels \(1,\) must match"):
        confusion_matrix(torch.tensor([0, 1, 0]), torch.tensor([1]), 2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_small_integers_do_not_wrap(dtype):
    classes = torch.tensor([3, 99, 99])
    confusion = confusion_matrix(classes, classes.to(dtype), 100)
    assert confusion.nonzero().tolist() == [[3, 3], [99, 99]] and torch.equal(
        confusion, confusion_matrix(classes.to(dtype), classes, 100)
    )
