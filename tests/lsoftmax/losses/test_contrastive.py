"""The contrastive term against scalar loops and pytorch-metric-learning, and softmax with it."""

import math

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import ContrastiveLoss
from pytorch_metric_learning.reducers import DoNothingReducer

from lsoftmax.losses import contrastive_loss, create

MARGINS = [0.0, 1.0, 3.0, 100.0]


@pytest.fixture
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """Distances of 1 to 6, some of them below a margin of 3."""
    return torch.randn(12, 5, dtype=torch.float64).requires_grad_(), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 5])


def slow(features: list[list[float]], labels: list[int], margin: float) -> tuple[float, float, int, int]:
    """Sums over same and different pairs i < k, and their counts."""
    sums, counts = {True: 0.0, False: 0.0}, {True: 0, False: 0}
    for i in range(len(labels)):
        for k in range(i):
            d, same = math.dist(features[i], features[k]), labels[i] == labels[k]
            sums[same] += d**2 if same else max(0.0, margin - d) ** 2
            counts[same] += 1
    return sums[True], sums[False], counts[True], counts[False]


@pytest.mark.parametrize("margin", MARGINS)
def test_the_loss_equals_the_slow_definition(margin, pairs):
    features, labels = pairs
    same, different, *counts = slow(features.tolist(), labels.tolist(), margin)
    assert sum(counts) == 66
    expected = (same + different) / 66
    assert contrastive_loss(features, labels, margin=margin).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("margin", MARGINS)
def test_the_gradient_is_that_of_the_loss(margin, pairs):
    features, labels = pairs
    assert torch.autograd.gradcheck(lambda x: contrastive_loss(x, labels, margin=margin), features)


def test_pytorch_metric_learning_agrees_where_its_averages_are_undone(pairs):
    # It averages same and different pairs apart, and has them linear in the distance.
    features, labels = pairs
    peer = ContrastiveLoss(neg_margin=3.0, distance=LpDistance(normalize_embeddings=False), reducer=DoNothingReducer())
    parts = peer(features, labels)
    total = sum(parts[name]["losses"].square().sum() for name in ("pos_loss", "neg_loss"))
    expected = total / (12 * 11)  # each pair both ways round there
    actual = contrastive_loss(features, labels, margin=3.0)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=0)
    grads = [torch.autograd.grad(loss, features)[0] for loss in (actual, expected)]
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("margin", [1.0, 3.0])
def test_a_pair_of_two_is_its_own_mean(margin):
    features = torch.tensor([[0.0, 0.0], [1.2, 1.6]])
    same, different = (contrastive_loss(features, torch.tensor([0, y]), margin=margin) for y in (0, 1))
    assert (same.item(), different.item()) == pytest.approx((4.0, max(0.0, margin - 2) ** 2))


def test_margin_0_pulls_and_never_pushes(pairs):
    features, _ = pairs
    assert contrastive_loss(features, torch.arange(12), margin=0.0) == 0
    assert contrastive_loss(features, torch.zeros(12, dtype=torch.int64), margin=0.0) > 0


def test_the_loss_does_not_move_with_the_features(pairs):
    features, labels = pairs
    expected = contrastive_loss(features, labels, margin=3.0)
    torch.testing.assert_close(contrastive_loss(features + 1e3, labels, margin=3.0), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("label", [0, 1])
def test_coincident_features_have_a_finite_gradient(label):
    features = torch.ones(2, 5, requires_grad=True)
    loss = contrastive_loss(features, torch.tensor([0, label]), margin=2.0)
    loss.backward()
    assert loss == 4 * label and not features.grad.any()


@pytest.mark.parametrize("gap", [1e-3, 1e-2])
def test_near_features_far_from_0_are_pushed_by_twice_what_is_missing(gap):
    # |x|^2 + |y|^2 - 2 x.y would have lost the distance altogether: 100^2 * 2^-24 = 6e-4.
    features = torch.tensor([[100.0, 0.0], [100.0, gap]], requires_grad=True)
    contrastive_loss(features, torch.tensor([0, 1]), margin=1.0).backward()
    distance = (features[1, 1] - features[0, 1]).item()
    torch.testing.assert_close(features.grad[1], torch.tensor([0.0, -2 * (1 - distance)]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("count", [0, 1])
def test_a_batch_without_pairs_loses_nothing(count):
    features = torch.randn(count, 5, requires_grad=True)
    loss = contrastive_loss(features, torch.zeros(count, dtype=torch.int64), margin=1.0)
    loss.backward()
    assert loss == 0 and not features.grad.any()


def test_any_class_ids_will_do(pairs):
    features, labels = pairs
    expected = contrastive_loss(features, labels, margin=3.0)
    assert torch.equal(contrastive_loss(features, 10**12 - 7 * labels, margin=3.0), expected)


def test_balance_0_is_softmax(batch):
    features, _, labels = batch(20, dtype=torch.float32)
    criterion = create("contrastive", 5, 4, balance=0.0)
    assert torch.equal(criterion(features, labels), F.cross_entropy(features @ criterion.weight.T, labels))


def test_the_criterion_adds_the_balanced_term_to_softmax(batch):
    features, _, labels = batch(20, dtype=torch.float32)
    criterion = create("contrastive", 5, 4, margin=2.0, balance=0.3)
    softmax = F.cross_entropy(features @ criterion.weight.T, labels)
    expected = softmax + 0.3 * contrastive_loss(features, labels, margin=2.0)
    assert torch.equal(criterion(features, labels), expected)


@pytest.mark.parametrize("option", ["margin", "balance"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, True, "1", None])
def test_a_margin_or_balance_that_is_no_number_from_0_is_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} must be a finite number >= 0, got"):
        create("contrastive", 5, 4, **{option: value})
