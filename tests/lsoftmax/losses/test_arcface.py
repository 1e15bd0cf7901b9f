"""ArcFace against scalar loops with an arccos and pytorch-metric-learning."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import ArcFaceLoss

from lsoftmax.losses import arcface_cross_entropy, arcface_logits, create
from lsoftmax.losses.arcface import arcface_psi

MARGINS = [0.0, 0.1, 0.5, 1.0, 1.57]


def slow_psi(theta: float, m: float) -> float:
    return math.cos(theta + m) if theta + m <= math.pi else math.cos(theta) - m * math.sin(m)


def slow_logits(features: np.ndarray, weight: np.ndarray, labels: list[int], s: float, m: float) -> np.ndarray:
    logits = np.empty((len(features), len(weight)))
    for i, x in enumerate(features):
        for j, w in enumerate(weight):
            cosine = np.clip(sum(x * w) / math.hypot(*x) / math.hypot(*w), -1, 1)
            logits[i, j] = s * (slow_psi(math.acos(cosine), m) if j == labels[i] else cosine)
    return logits


def circle(degrees: torch.Tensor) -> torch.Tensor:
    angle = torch.deg2rad(degrees)
    return torch.stack((angle.cos(), angle.sin()), dim=1)


@pytest.mark.parametrize("m", MARGINS)
def test_the_logits_equal_the_slow_definition(m, batch):
    features, weight, labels = batch(50)
    expected = slow_logits(features.detach().numpy(), weight.detach().numpy(), labels.tolist(), 64.0, m)
    actual = arcface_logits(features, weight, labels, s=64.0, m=m).detach()
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("m", MARGINS)
def test_psi_equals_the_slow_definition_at_every_degree(m):
    theta = torch.deg2rad(torch.arange(0.5, 180, dtype=torch.float64))
    expected = [slow_psi(angle, m) for angle in theta.tolist()]
    assert arcface_psi(theta.cos(), m).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("m", MARGINS)
def test_psi_falls_from_0_to_pi(m):
    theta = torch.linspace(0, math.pi, 1001, dtype=torch.float64)
    assert (arcface_psi(theta.cos(), m).diff() < 0).all()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_loss_is_the_cross_entropy_of_the_logits(reduction, batch):
    features, weight, labels = batch(30)
    logits = arcface_logits(features, weight, labels, s=64.0, m=0.5)
    actual = arcface_cross_entropy(features, weight, labels, s=64.0, m=0.5, reduction=reduction)
    torch.testing.assert_close(actual, F.cross_entropy(logits, labels, reduction=reduction))


@pytest.mark.parametrize("m", MARGINS)
def test_the_gradient_is_that_of_the_loss(m, batch):
    features, weight, labels = batch()
    loss = lambda x, w: arcface_cross_entropy(x, w, labels, s=8.0, m=m)  # noqa: E731
    assert torch.autograd.gradcheck(loss, (features, weight))


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
@pytest.mark.parametrize("m", MARGINS)
def test_pytorch_metric_learning_agrees(m, batch):
    features, weight, labels = batch(50)
    peer = ArcFaceLoss(num_classes=4, embedding_size=5, margin=math.degrees(m), scale=64).double()
    peer.W.data = weight.detach().T.contiguous()  # (D, C) there
    ours, theirs = arcface_cross_entropy(features, weight, labels, s=64.0, m=m), peer(features, labels)
    torch.testing.assert_close(ours, theirs)
    grad = torch.autograd.grad(ours, (features, weight))
    torch.testing.assert_close((grad[0], grad[1].T), torch.autograd.grad(theirs, (features, peer.W)))


def test_margin_0_is_softmax_of_scaled_cosines(batch):
    features, weight, labels = batch(30)
    expected = F.cross_entropy(64 * F.normalize(features) @ F.normalize(weight).T, labels)
    torch.testing.assert_close(arcface_cross_entropy(features, weight, labels, s=64.0, m=0.0), expected)


def test_no_norm_counts(batch):
    features, weight, labels = batch(30)
    expected = arcface_cross_entropy(features, weight, labels, s=64.0, m=0.5)
    scaled = arcface_cross_entropy(1e6 * features, 1e-6 * weight, labels, s=64.0, m=0.5)
    torch.testing.assert_close(scaled, expected)


@pytest.mark.parametrize("degrees", [1e-6, 1e-4, 1e-2, 1.0, 179.0, 179.99, 179.9999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_stays_bounded_near_the_poles(degrees, dtype):
    # An acos would give s / theta; the truth is at most s times the slope of cos(theta + m), or of cos(theta).
    features = circle(torch.tensor([degrees], dtype=torch.float64)).to(dtype).requires_grad_()
    logits = arcface_logits(features, torch.eye(2, dtype=dtype), torch.tensor([0]), s=64.0, m=0.5)
    [grad] = torch.autograd.grad(logits[0, 0], features)
    assert grad.norm() <= 64 * 1.01


@pytest.mark.parametrize("sign", [1, -1])
def test_the_gradient_at_the_poles_is_finite(sign):
    weight = torch.tensor([[3.0, 4.0], [1.0, 0.0]], requires_grad=True)
    features = (sign * weight.detach()[:1]).requires_grad_()
    loss = arcface_cross_entropy(features, weight, torch.tensor([0]), s=64.0, m=0.5)
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(loss, (features, weight)))


def test_beyond_the_end_of_the_cosine_the_target_goes_on_falling():
    features = circle(torch.tensor([150.0, 160.0, 179.0]))
    target = arcface_logits(features, torch.eye(2), torch.tensor([0, 0, 0]), s=1.0, m=0.5)[:, 0]
    assert target.diff().lt(0).all() and target[1:].tolist() == pytest.approx(
        [math.cos(math.radians(degrees)) - 0.5 * math.sin(0.5) for degrees in (160, 179)], rel=1e-5
    )


def test_the_criterion_is_the_function(batch):
    features, _, labels = batch(20, dtype=torch.float32)
    criterion = create("arcface", 5, 4, s=10.0, m=0.2)
    for m in (0.2, 0.4):
        criterion.m = m
        expected = arcface_cross_entropy(features, criterion.weight, labels, s=10.0, m=m)
        assert torch.equal(criterion(features, labels), expected)


def test_the_plain_scores_are_the_scaled_cosines(batch):
    features = batch(dtype=torch.float32)[0]
    criterion = create("arcface", 5, 4)
    expected = 64 * F.normalize(features) @ F.normalize(criterion.weight).T
    torch.testing.assert_close(criterion.logits(features), expected)


def test_positive_psi_is_the_share_of_angles_below_a_right_one_less_m():
    criterion = create("arcface", 2, 2, m=math.radians(30))
    criterion.weight.data = torch.eye(2)
    statistics = criterion.statistics(circle(torch.tensor([0.0, 59.0, 61.0, 179.0])), torch.zeros(4, dtype=torch.int64))
    assert statistics["positive_psi"] == 0.5


@pytest.mark.parametrize("m", [-0.1, math.pi / 2, 28.6, math.nan, True, "0.5", None])
def test_a_margin_that_is_no_acute_angle_in_radians_is_refused(m, batch):
    criterion = create("arcface", 5, 4)
    for call in (lambda: arcface_logits(*batch(), s=64.0, m=m), lambda: setattr(criterion, "m", m)):
        with pytest.raises(ValueError, match="m must be a finite number >= 0 and < 1.5708, got"):
            call()


@pytest.mark.parametrize("cosine, slope", [(1.0, math.cos(0.5)), (-1.0, 1.0)])
def test_at_the_ends_the_slope_is_that_of_the_cosine_alone(cosine, slope):
    end = torch.tensor(cosine, requires_grad=True)
    (gradient,) = torch.autograd.grad(arcface_psi(end, 0.5), end)
    assert gradient.item() == pytest.approx(slope)
