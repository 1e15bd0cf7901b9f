"""A-Softmax against L-Softmax's independent reference with normalised weights, and pytorch-metric-learning."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import SphereFaceLoss

from lsoftmax import lsoftmax_cross_entropy
from lsoftmax.losses import asoftmax_cross_entropy, asoftmax_logits, create

MS = [1, 2, 3, 4, 7]


def slow_logits(features: np.ndarray, weight: np.ndarray, labels: list[int], m: int, lam: float) -> np.ndarray:
    """|x| cos(theta_j), the target's annealed: an arccos, a k, a cosine for each sample."""
    logits = np.empty((len(features), len(weight)))
    for i, x in enumerate(features):
        for j, w in enumerate(weight):
            norm = math.hypot(*x)
            cosine = np.clip(sum(x * w) / norm / math.hypot(*w), -1, 1)
            if j == labels[i]:
                theta = math.acos(cosine)
                k = min(int(m * theta / math.pi), m - 1)
                cosine = (lam * cosine + (-1) ** k * math.cos(m * theta) - 2 * k) / (1 + lam)
            logits[i, j] = norm * cosine
    return logits


@pytest.mark.parametrize("lam", [0.0, 0.5, 5.0])
@pytest.mark.parametrize("m", MS)
def test_the_logits_equal_the_slow_definition(m, lam, batch):
    features, weight, labels = batch(30)
    expected = slow_logits(features.detach().numpy(), weight.detach().numpy(), labels.tolist(), m, lam)
    actual = asoftmax_logits(features, weight, labels, m=m, lam=lam).detach()
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("m", MS)
def test_the_loss_is_the_cross_entropy_of_the_logits(m, reduction, batch):
    features, weight, labels = batch(30)
    logits = asoftmax_logits(features, weight, labels, m=m, lam=0.5)
    actual = asoftmax_cross_entropy(features, weight, labels, m=m, lam=0.5, reduction=reduction)
    torch.testing.assert_close(actual, F.cross_entropy(logits, labels, reduction=reduction))


@pytest.mark.parametrize("function", [asoftmax_logits, asoftmax_cross_entropy])
@pytest.mark.parametrize("m", MS)
def test_the_gradient_is_that_of_the_value(function, m, batch):
    features, weight, labels = batch()
    assert torch.autograd.gradcheck(lambda x, w: function(x, w, labels, m=m, lam=0.5), (features, weight))


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # its torch tensors meet scipy's binom
@pytest.mark.parametrize("m", MS)
def test_pytorch_metric_learning_agrees_at_lambda_0(m, batch):
    features, weight, labels = batch(30)
    peer = SphereFaceLoss(num_classes=4, embedding_size=5, margin=m, scale=1).double()
    peer.W.data = weight.detach().T.contiguous()  # (D, C) there
    theirs = torch.autograd.grad(peer(features, labels), (features, peer.W))
    ours = torch.autograd.grad(asoftmax_cross_entropy(features, weight, labels, m=m), (features, weight))
    torch.testing.assert_close(asoftmax_cross_entropy(features, weight, labels, m=m), peer(features, labels))
    torch.testing.assert_close((ours[0], ours[1].T), theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("gradient", ["exact", "norms_live", "detached"])
def test_with_weights_of_length_1_it_is_lsoftmax(gradient, batch, gradients):
    features, weight, labels = batch(30)
    unit = F.normalize(weight.detach())
    options = {"m": 3, "lam": 0.5, "gradient": gradient}
    ours = gradients(lambda x, w: asoftmax_cross_entropy(x, w, labels, **options), features, unit)
    theirs = gradients(lambda x, w: lsoftmax_cross_entropy(x, w, labels, **options), features, unit)
    torch.testing.assert_close(ours[:2], theirs[:2])
    along = (theirs[2] * unit).sum(dim=1, keepdim=True) * unit
    torch.testing.assert_close(ours[2], theirs[2] - along)  # the weights may turn and not grow


def test_the_norms_of_the_weights_do_not_count(batch):
    features, weight, labels = batch(30)
    scaled = weight * torch.tensor([[1e-9], [1.0], [1e3], [1e9]], dtype=torch.float64)
    expected = asoftmax_cross_entropy(features, weight, labels, m=4)
    torch.testing.assert_close(asoftmax_cross_entropy(features, scaled, labels, m=4), expected)


@pytest.mark.parametrize("options", [{"m": 1}, {"m": 4, "lam": math.inf}])
def test_without_margin_it_is_softmax_of_normalised_weights(options, batch):
    features, weight, labels = batch(30)
    expected = F.cross_entropy(features @ F.normalize(weight).T, labels)
    torch.testing.assert_close(asoftmax_cross_entropy(features, weight, labels, **options), expected)


@pytest.mark.parametrize("m", MS)
def test_the_criterion_is_the_function_at_every_lambda(m, batch):
    features, _, labels = batch(20, dtype=torch.float32)
    criterion = create("asoftmax", 5, 4, m=m)
    for lam in (1000.0, 5.0, 0.0):
        criterion.lam = lam
        expected = asoftmax_cross_entropy(features, criterion.weight, labels, m=m, lam=lam)
        torch.testing.assert_close(criterion(features, labels), expected)


def test_the_plain_scores_are_the_features_times_unit_weights(batch):
    features = batch(dtype=torch.float32)[0]
    criterion = create("asoftmax", 5, 4)
    torch.testing.assert_close(criterion.logits(features), features @ F.normalize(criterion.weight).T)


def test_positive_psi_is_the_share_of_angles_below_pi_over_2m():
    criterion = create("asoftmax", 2, 2, m=3)
    criterion.weight.data = torch.eye(2)
    angle = torch.deg2rad(torch.tensor([0.0, 29.0, 31.0, 90.0]))
    features = torch.stack((angle.cos(), angle.sin()), dim=1)
    assert criterion.statistics(features, torch.zeros(4, dtype=torch.int64))["positive_psi"] == 0.5


@pytest.mark.parametrize(("option", "value"), [("m", 0), ("m", 1.5), ("m", True), ("lam", -1.0), ("gradient", "no")])
def test_an_option_out_of_range_is_refused(option, value, batch):
    with pytest.raises(ValueError, match=f"{option} must be"):
        asoftmax_cross_entropy(*batch(), **{"m": 4, option: value})
    with pytest.raises(ValueError, match=f"{option} must be"):
        create("asoftmax", 5, 4, **{option: value})
