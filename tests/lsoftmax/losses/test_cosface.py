"""CosFace against scalar loops and pytorch-metric-learning."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import CosFaceLoss

from lsoftmax.losses import cosface_cross_entropy, cosface_logits, create

OPTIONS = [{"s": s, "m": m} for s in (1.0, 30.0) for m in (0.0, 0.35, 2)]


def slow_logits(features: np.ndarray, weight: np.ndarray, labels: list[int], s: float, m: float) -> np.ndarray:
    logits = np.empty((len(features), len(weight)))
    for i, x in enumerate(features):
        for j, w in enumerate(weight):
            cosine = sum(x * w) / math.hypot(*x) / math.hypot(*w)
            logits[i, j] = s * (cosine - m if j == labels[i] else cosine)
    return logits


@pytest.mark.parametrize("options", OPTIONS)
def test_the_logits_equal_the_slow_definition(options, batch):
    features, weight, labels = batch(30)
    expected = slow_logits(features.detach().numpy(), weight.detach().numpy(), labels.tolist(), **options)
    actual = cosface_logits(features, weight, labels, **options).detach()
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_loss_is_the_cross_entropy_of_the_logits(reduction, batch):
    features, weight, labels = batch(30)
    logits = cosface_logits(features, weight, labels, s=30.0, m=0.35)
    actual = cosface_cross_entropy(features, weight, labels, s=30.0, m=0.35, reduction=reduction)
    torch.testing.assert_close(actual, F.cross_entropy(logits, labels, reduction=reduction))


@pytest.mark.parametrize("options", OPTIONS)
def test_the_gradient_is_that_of_the_loss(options, batch):
    features, weight, labels = batch()
    assert torch.autograd.gradcheck(lambda x, w: cosface_cross_entropy(x, w, labels, **options), (features, weight))


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
@pytest.mark.parametrize("options", OPTIONS)
def test_pytorch_metric_learning_agrees(options, batch):
    features, weight, labels = batch(30)
    peer = CosFaceLoss(num_classes=4, embedding_size=5, margin=options["m"], scale=options["s"]).double()
    peer.W.data = weight.detach().T.contiguous()  # (D, C) there
    ours, theirs = cosface_cross_entropy(features, weight, labels, **options), peer(features, labels)
    torch.testing.assert_close(ours, theirs)
    grad = torch.autograd.grad(ours, (features, weight))
    torch.testing.assert_close((grad[0], grad[1].T), torch.autograd.grad(theirs, (features, peer.W)))


def test_margin_0_is_softmax_of_scaled_cosines(batch):
    features, weight, labels = batch(30)
    expected = F.cross_entropy(30 * F.normalize(features) @ F.normalize(weight).T, labels)
    torch.testing.assert_close(cosface_cross_entropy(features, weight, labels, s=30.0, m=0.0), expected)


def test_no_norm_counts(batch):
    features, weight, labels = batch(30)
    expected = cosface_cross_entropy(features, weight, labels, s=30.0, m=0.35)
    scaled = cosface_cross_entropy(1e6 * features, 1e-6 * weight, labels, s=30.0, m=0.35)
    torch.testing.assert_close(scaled, expected)


def test_the_criterion_is_the_function(batch):
    features, _, labels = batch(20, dtype=torch.float32)
    criterion = create("cosface", 5, 4, s=10.0, m=0.2)
    for m in (0.2, 0.4):
        criterion.m = m
        expected = cosface_cross_entropy(features, criterion.weight, labels, s=10.0, m=m)
        assert torch.equal(criterion(features, labels), expected)


def test_the_plain_scores_are_the_scaled_cosines(batch):
    features = batch(dtype=torch.float32)[0]
    criterion = create("cosface", 5, 4)
    expected = 30 * F.normalize(features) @ F.normalize(criterion.weight).T
    torch.testing.assert_close(criterion.logits(features), expected)


def test_positive_psi_is_the_share_of_cosines_above_m():
    criterion = create("cosface", 2, 2, m=0.5)
    criterion.weight.data = torch.eye(2)
    angle = torch.deg2rad(torch.tensor([0.0, 59.0, 61.0, 90.0]))
    features = torch.stack((angle.cos(), angle.sin()), dim=1)
    assert criterion.statistics(features, torch.zeros(4, dtype=torch.int64))["positive_psi"] == 0.5


@pytest.mark.parametrize("m", [-0.1, math.nan, math.inf, True, "0.35", None])
def test_a_margin_that_is_no_number_from_0_is_refused(m, batch):
    criterion = create("cosface", 5, 4)
    for call in (lambda: cosface_logits(*batch(), s=30.0, m=m), lambda: setattr(criterion, "m", m)):
        with pytest.raises(ValueError, match="m must be a finite number >= 0, got"):
            call()


@pytest.mark.parametrize("s", [0, -1.0, math.nan, math.inf, True, "30", None])
def test_a_scale_that_is_no_number_above_0_is_refused(s, batch):
    for call in (lambda: cosface_logits(*batch(), s=s, m=0.35), lambda: create("cosface", 5, 4, s=s)):
        with pytest.raises(ValueError, match="s must be a finite number > 0, got"):
            call()
