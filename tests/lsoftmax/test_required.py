"""required_lambda against its definition: the least lambda at which the target logit beats its strongest rival."""

import math

import numpy as np
import pytest
import torch

from lsoftmax import blockwise, lsoftmax_logits, required, required_lambda
from lsoftmax.losses import create


def least_by_bisection(reference, features, weight, labels, m):
    """(N,) float64: where `reference`'s logits begin to win, between 0 and 1e12; inf where they never do."""
    n = len(features)

    def wins(lams):
        logits = np.concatenate(
            [reference(features[i : i + 1], weight, labels[i : i + 1], m=m, lam=lams[i]).logits for i in range(n)]
        )
        rows, others = np.arange(n), logits.copy()
        others[rows, labels] = -np.inf
        return logits[rows, labels] >= others.max(axis=1)

    low, high = np.zeros(n), np.full(n, 1e12)
    never, at_once = ~wins(high), wins(low)
    for _ in range(100):
        middle = (low + high) / 2
        won = wins(middle)
        low, high = np.where(won, low, middle), np.where(won, middle, high)
    return np.where(never, np.inf, np.where(at_once, 0.0, high))


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
def test_it_is_the_least_lambda_at_which_the_target_wins(m, batch, reference):
    features, weight, labels = batch(n=30)
    features = features.detach()
    features[:10] += 5 * weight[labels[:10]].detach()  # some that win with the margin too
    expected = least_by_bisection(reference, features, weight, labels, m)
    assert {0.0, math.inf} <= set(expected)
    if m > 1:
        assert any(0 < value < math.inf for value in expected)
    np.testing.assert_allclose(required_lambda(features, weight, labels, m=m), expected, rtol=1e-9)


@pytest.mark.parametrize(("share", "wins"), [(1.01, True), (0.99, False)])
@pytest.mark.parametrize("m", [2, 4])
def test_logits_win_just_above_it_and_lose_just_below(m, share, wins, batch):
    features, weight, labels = batch(n=60)
    needed = required_lambda(features, weight, labels, m=m)
    tested = [i for i in range(60) if 0 < needed[i] < math.inf]
    assert len(tested) > 5
    for i in tested:
        logits = lsoftmax_logits(features[i : i + 1], weight, labels[i : i + 1], m=m, lam=float(needed[i] * share))
        assert (logits.argmax() == labels[i]).item() is wins


def test_the_formula_in_numbers():
    # |x| = 2, theta = 60 degrees, m = 2: z = 1, |w||x| psi = -1; rivals 0.5 and -3: (0.5 + 1) / (1 - 0.5)
    features = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    weight = torch.tensor([[0.5, math.sqrt(0.75)], [0.25, 0.0], [-1.5, 2.0]], dtype=torch.float64)
    assert required_lambda(features, weight, torch.tensor([0]), m=2).item() == pytest.approx(3)


def test_an_aligned_row_that_leads_needs_none():
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert required_lambda(weight * 3, weight, torch.tensor([0, 1]), m=4).tolist() == [0, 0]


def test_a_row_that_loses_without_a_margin_needs_infinity():
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert required_lambda(weight, weight, torch.tensor([1, 0]), m=4).tolist() == [math.inf, math.inf]


def test_without_a_margin_it_is_nothing_or_infinity(batch):
    features, weight, labels = batch(n=40, dtype=torch.float32)
    right = (features @ weight.T).argmax(dim=1) == labels
    assert torch.equal(required_lambda(features, weight, labels, m=1), torch.where(right, 0.0, math.inf))


def test_a_zero_vector_ties_with_all_rivals_and_needs_none(batch):
    features, weight, labels = batch()
    with torch.no_grad():
        features[0] = 0
    needed = required_lambda(features, weight, labels, m=3)
    assert needed[0] == 0 and not needed.isnan().any()


def test_a_single_class_needs_none():
    needed = required_lambda(torch.randn(5, 3), torch.randn(1, 3), torch.zeros(5, dtype=torch.int64), m=4)
    assert needed.tolist() == [0] * 5


def test_an_empty_batch_has_no_numbers():
    assert required_lambda(torch.empty(0, 3), torch.randn(2, 3), torch.empty(0, dtype=torch.int64), m=4).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_computed_in_float32(dtype, batch):
    features, weight, labels = batch(n=30, dtype=dtype)
    needed = required_lambda(features, weight, labels, m=4)
    assert needed.dtype == torch.float32
    assert torch.equal(needed, required_lambda(features.float(), weight.float(), labels, m=4))


def test_float64_stays_float64(batch):
    assert required_lambda(*batch(), m=4).dtype == torch.float64


def test_autocast_does_not_round_it(batch):
    features, weight, labels = batch(n=30, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        needed = required_lambda(features, weight, labels, m=4)
        mixed = required_lambda(features.bfloat16(), weight, labels, m=4)
    assert torch.equal(needed, required_lambda(features, weight, labels, m=4))
    assert torch.equal(mixed, required_lambda(features.bfloat16().float(), weight, labels, m=4))


def test_a_few_rows_at_a_time_need_the_same(batch, monkeypatch):
    """As with very many classes, whose loss holds a block of the logits at a time."""
    arguments, sizes = batch(n=30), []
    whole = required_lambda(*arguments, m=4)
    lead = required._lead
    monkeypatch.setattr(required, "_lead", lambda logits, labels: sizes.append(len(labels)) or lead(logits, labels))
    monkeypatch.setattr(blockwise, "LOGITS_AT_A_TIME", 7 * len(arguments[1]))
    torch.testing.assert_close(required_lambda(*arguments, m=4), whole, rtol=1e-12, atol=0)
    assert sizes == [7, 7, 7, 7, 2]


def test_it_has_no_graph_and_changes_nothing(batch):
    features, weight, labels = batch()
    before = features.detach().clone(), weight.detach().clone()
    assert not required_lambda(features, weight, labels, m=4).requires_grad
    assert torch.equal(features, before[0]) and torch.equal(weight, before[1])


@pytest.mark.parametrize("m", [0, 2.0, True])
def test_a_wrong_margin_is_named(m, batch):
    with pytest.raises(ValueError, match="^m must be an integer >= 1"):
        required_lambda(*batch(), m=m)


def test_tensors_that_do_not_fit_are_named(batch):
    features, weight, labels = batch()
    with pytest.raises(ValueError, match="^labels must be"):
        required_lambda(features, weight, labels[1:], m=4)
    with pytest.raises(TypeError, match="^weight must have a floating dtype"):
        required_lambda(features, weight.long(), labels, m=4)


def test_features_of_autocast_meet_the_weight_outside_of_it(batch):
    features, weight, labels = batch(n=30, dtype=torch.float32)
    needed = required_lambda(features.bfloat16(), weight, labels, m=4)
    assert torch.equal(needed, required_lambda(features.bfloat16().float(), weight, labels, m=4))


# As a criterion's


@pytest.mark.parametrize("name", ["lsoftmax", "asoftmax"])
def test_a_criterion_wins_just_above_what_it_requires(name):
    criterion = create(name, 5, 4, m=3).double()
    features, labels = 3 * torch.randn(80, 5, dtype=torch.float64), torch.randint(4, (80,))
    needed = criterion.required_lambda(features, labels)
    tested = [i for i in range(80) if 0 < needed[i] < math.inf]
    assert len(tested) > 5
    for i in tested:
        for share, wins in ((1.001, True), (0.999, False)):
            criterion.lam = float(needed[i] * share)
            logits = criterion.margin_logits(features[i : i + 1], labels[i : i + 1])
            assert (logits.argmax() == labels[i]).item() is wins


@pytest.mark.parametrize("name", ["lsoftmax", "asoftmax"])
def test_a_criterion_takes_features_of_autocast(name):
    criterion = create(name, 5, 4)
    features, labels = torch.randn(9, 5).bfloat16(), torch.randint(4, (9,))
    assert torch.equal(criterion.required_lambda(features, labels), criterion.required_lambda(features.float(), labels))


def test_losses_without_an_annealed_margin_require_none():
    assert not any(hasattr(create(name, 5, 4), "required_lambda") for name in ("softmax", "hinge", "cosface"))
