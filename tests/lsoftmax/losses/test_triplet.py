"""The triplet term against scalar loops and pytorch-metric-learning, and softmax with it."""

import math

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from pytorch_metric_learning.reducers import MeanReducer

from lsoftmax.losses import create, triplet_loss

MARGINS = [0.05, 0.2, 1.0, 5.0]
SQUARED = LpDistance(normalize_embeddings=True, p=2, power=2)


@pytest.fixture
def samples() -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(5).repeat(6)
    return (torch.randn(30, 6, dtype=torch.float64) + F.one_hot(labels, 6)).requires_grad_(), labels


def slow(features: list[list[float]], labels: list[int], margin: float) -> tuple[float, int]:
    """The mean loss and the number of pairs that have a semi-hard negative."""
    unit = [[a / math.hypot(*row) for a in row] for row in features]
    squared = lambda i, k: math.dist(unit[i], unit[k]) ** 2  # noqa: E731
    losses = []
    for a, p in ((a, p) for a in range(len(labels)) for p in range(len(labels)) if a != p and labels[a] == labels[p]):
        farther = [squared(a, n) for n in range(len(labels)) if labels[n] != labels[a]]
        farther = [d for d in farther if squared(a, p) < d < squared(a, p) + margin]
        if farther:
            losses.append(squared(a, p) - min(farther) + margin)
    return sum(losses) / max(1, len(losses)), len(losses)


def on_circle(*degrees: float) -> torch.Tensor:
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack((angle.cos(), angle.sin()), dim=1).requires_grad_()


def lead(positive: float, negative: float) -> float:
    """Between squared distances on the unit circle, of angles in degrees: 2 cos - 2 cos."""
    return 2 * math.cos(math.radians(positive)) - 2 * math.cos(math.radians(negative))


@pytest.mark.parametrize("margin", MARGINS)
def test_the_loss_equals_the_slow_definition(margin, samples):
    features, labels = samples
    expected, count = slow(features.tolist(), labels.tolist(), margin)
    assert count > 20
    assert triplet_loss(features, labels, margin=margin).item() == pytest.approx(expected, rel=1e-11)


def test_the_gradient_is_that_of_the_loss(samples):
    features, labels = samples
    assert torch.autograd.gradcheck(lambda x: triplet_loss(x, labels, margin=0.2), features)


@pytest.mark.parametrize("margin", MARGINS)
def test_pytorch_metric_learning_agrees_on_the_nearest_of_its_semi_hard_negatives(margin, samples):
    features, labels = samples
    mined = TripletMarginMiner(margin, "semihard", distance=SQUARED)(features, labels)
    distance = SQUARED(features, features)
    nearest: dict[tuple[int, int], int] = {}  # it keeps all; FaceNet takes one for each anchor and positive
    for a, p, n in zip(*(indices.tolist() for indices in mined), strict=True):
        known = nearest.setdefault((a, p), n)
        nearest[a, p] = min(known, n, key=lambda other: distance[a, other].item())  # noqa: B023
    chosen = torch.tensor([(a, p, n) for (a, p), n in nearest.items()]).unbind(dim=1)
    peer = TripletMarginLoss(margin, distance=SQUARED, reducer=MeanReducer())
    expected = peer(features, labels, chosen)
    actual = triplet_loss(features, labels, margin=margin)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)
    grads = [torch.autograd.grad(loss, features, retain_graph=True)[0] for loss in (actual, expected)]
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-10)


def test_torchs_triplet_loss_agrees_on_a_single_triplet():
    anchor, positive, negative = features = on_circle(0, 20, 25)
    labels = torch.tensor([0, 0, 1])
    squared = lambda x, y: (x - y).square().sum(dim=-1)  # noqa: E731
    # From the positive's side the negative is nearer than the anchor: no second triplet.
    expected = F.triplet_margin_with_distance_loss(
        anchor[None], positive[None], negative[None], distance_function=squared, margin=0.2
    )
    torch.testing.assert_close(triplet_loss(features, labels, margin=0.2), expected)


def test_of_several_semi_hard_negatives_the_nearest_counts():
    features = on_circle(0, 20, -22, -24, -10)
    labels = torch.tensor([0, 0, 1, 2, 3])
    # From 20 degrees the next beyond the anchor is the one at -10; from 0 the one at -22.
    expected = (0.5 - lead(20, 22) + 0.5 - lead(20, 30)) / 2
    assert triplet_loss(features, labels, margin=0.5).item() == pytest.approx(expected)


def test_pairs_whose_negatives_are_all_nearer_lose_nothing():
    features = on_circle(0, 90, 45)
    loss = triplet_loss(features, torch.tensor([0, 0, 1]), margin=0.2)
    loss.backward()
    assert loss == 0 and not features.grad.any()


def test_pairs_whose_negatives_are_all_beyond_the_margin_lose_nothing():
    features = on_circle(0, 10, 170)
    loss = triplet_loss(features, torch.tensor([0, 0, 1]), margin=0.2)
    loss.backward()
    assert loss == 0 and not features.grad.any()


def test_pairs_without_a_semi_hard_negative_do_not_dilute_the_mean():
    features, labels = on_circle(0, 20, 25), torch.tensor([0, 0, 1])
    more = torch.cat((features, on_circle(180, 180.001)))
    expected = triplet_loss(features, labels, margin=0.2)
    torch.testing.assert_close(triplet_loss(more, torch.tensor([0, 0, 1, 2, 2]), margin=0.2), expected)


def test_a_negative_as_far_as_the_positive_is_not_farther():
    features = on_circle(0, 90, -90)
    assert triplet_loss(features, torch.tensor([0, 0, 1]), margin=0.2) == 0


def test_margin_0_leaves_no_semi_hard_negative(samples):
    assert triplet_loss(*samples, margin=0.0) == 0


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_a_batch_without_negatives_or_positives_loses_nothing(labels):
    features = torch.randn(4, 5, requires_grad=True)
    loss = triplet_loss(features, torch.tensor(labels), margin=0.2)
    loss.backward()
    assert loss == 0 and not features.grad.any()


@pytest.mark.parametrize("count", [0, 1])
def test_a_batch_without_pairs_loses_nothing(count):
    features = torch.randn(count, 5, requires_grad=True)
    loss = triplet_loss(features, torch.zeros(count, dtype=torch.int64), margin=0.2)
    loss.backward()
    assert loss == 0 and not features.grad.any()


def test_the_norms_of_the_features_do_not_count(samples):
    features, labels = samples
    scaled = features * torch.rand(30, 1, dtype=torch.float64) * 1000
    torch.testing.assert_close(triplet_loss(scaled, labels, margin=0.2), triplet_loss(features, labels, margin=0.2))


def test_coincident_features_have_a_finite_gradient():
    features = torch.ones(4, 5, requires_grad=True)
    triplet_loss(features, torch.tensor([0, 0, 1, 1]), margin=0.2).backward()
    assert features.grad.isfinite().all()


def test_features_that_are_not_finite_raise_nothing_here(samples):
    features, labels = samples
    with torch.no_grad():
        features[3, 2], features[4, 1] = math.nan, math.inf
    triplet_loss(features, labels, margin=0.2)


def test_balance_0_is_softmax(batch):
    features, _, labels = batch(20, dtype=torch.float32)
    criterion = create("triplet", 5, 4, balance=0.0)
    assert torch.equal(criterion(features, labels), F.cross_entropy(features @ criterion.weight.T, labels))


def test_the_criterion_adds_the_balanced_term_to_softmax(batch):
    features, _, labels = batch(20, dtype=torch.float32)
    criterion = create("triplet", 5, 4, margin=0.4, balance=0.3)
    softmax = F.cross_entropy(features @ criterion.weight.T, labels)
    expected = softmax + 0.3 * triplet_loss(features, labels, margin=0.4)
    assert torch.equal(criterion(features, labels), expected)


@pytest.mark.parametrize("option", ["margin", "balance"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, True, "1", None])
def test_a_margin_or_balance_that_is_no_number_from_0_is_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} must be a finite number >= 0, got"):
        create("triplet", 5, 4, **{option: value})
