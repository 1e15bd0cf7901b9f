"""What L-Softmax must be in the cases in which it is something simpler."""

import math

import pytest
import torch
import torch.nn.functional as F

from lsoftmax import lsoftmax_cross_entropy, lsoftmax_logits

GRADIENTS = ["exact", "norms_live", "detached"]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("m", range(1, 9))
def test_only_the_target_logit_changes(m, batch):
    features, weight, labels = batch(20, 6, 5)
    others = F.one_hot(labels, 5) == 0
    logits = lsoftmax_logits(features, weight, labels, m=m)
    assert torch.equal(logits[others], F.linear(features, weight)[others])


@pytest.mark.parametrize("m", range(2, 9))
def test_the_target_logit_never_exceeds_the_plain_one(m, batch):
    features, weight, labels = batch(200, 6, 5)
    margin, plain = lsoftmax_logits(features, weight, labels, m=m), F.linear(features, weight)
    assert (margin <= plain).all() and (margin < plain).any()


def test_a_cosine_rounded_beyond_1_does_not_raise_the_target_logit():
    # psi(1 + eps) would be m^2 eps above 1.
    weight, labels = torch.randn(500, 33), torch.arange(500)
    margin, plain = (lsoftmax_logits(3 * weight, weight, labels, m=m).diagonal() for m in (8, 1))
    assert (margin <= plain).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_m1_logits_and_gradients_are_the_linear_layers_to_the_last_bit(dtype, gradient, batch):
    features, weight, labels = batch(20, 6, 5, dtype)
    logits = lsoftmax_logits(features, weight, labels, m=1, lam=0.5, gradient=gradient)
    plain = F.linear(features, weight)
    cotangent = torch.randn_like(plain)
    assert torch.equal(logits, plain)
    actual, expected = (torch.autograd.grad(f, (features, weight), cotangent) for f in (logits, plain))
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_m1_loss_and_gradients_are_softmaxs_to_the_last_bit(dtype, reduction, batch, gradients):
    features, weight, labels = batch(20, 6, 5, dtype)
    plain = gradients(lambda x, w: F.cross_entropy(F.linear(x, w), labels, reduction=reduction), features, weight)
    margin = gradients(
        lambda x, w: lsoftmax_cross_entropy(x, w, labels, m=1, lam=3.0, reduction=reduction), features, weight
    )
    assert all(torch.equal(actual, expected) for actual, expected in zip(margin, plain, strict=True))


@pytest.mark.parametrize("lam", [math.inf, torch.tensor(math.inf)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_infinite_lambda_gives_the_plain_logits(dtype, lam, batch):
    features, weight, labels = batch(20, 6, 5, dtype)
    assert torch.equal(lsoftmax_logits(features, weight, labels, m=4, lam=lam), F.linear(features, weight))


@pytest.mark.parametrize("lam", [math.inf, torch.tensor(math.inf)])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_infinite_lambda_gives_softmaxs_loss_and_gradients(lam, gradient, batch, gradients):
    features, weight, labels = batch(20, 6, 5)
    plain = gradients(lambda x, w: F.cross_entropy(F.linear(x, w), labels), features, weight)
    margin = gradients(
        lambda x, w: lsoftmax_cross_entropy(x, w, labels, m=4, lam=lam, gradient=gradient), features, weight
    )
    torch.testing.assert_close(margin, plain, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("m", [2, 4, 8])
def test_the_loss_converges_to_softmaxs_as_one_over_lambda(m, batch, gradients):
    features, weight, labels = batch(20, 6, 5)
    plain = gradients(lambda x, w: F.cross_entropy(F.linear(x, w), labels), features, weight)
    for lam in (1e3, 1e6, 1e9, 1e300):
        margin = gradients(lambda x, w: lsoftmax_cross_entropy(x, w, labels, m=m, lam=lam), features, weight)  # noqa: B023
        torch.testing.assert_close(margin, plain, rtol=0, atol=10 * m**2 / lam + 1e-14)


@pytest.mark.parametrize("function", [lsoftmax_logits, lsoftmax_cross_entropy])
@pytest.mark.parametrize("lam", [0.0, 0.1, 1.0, 5.0, 1000.0, 1e300])
def test_lambda_in_a_tensor_equals_lambda_in_a_float(lam, function, batch, gradients):
    features, weight, labels = batch(20, 6, 5)
    as_float, as_tensor = (
        gradients(lambda x, w: function(x, w, labels, m=4, lam=value), features, weight)  # noqa: B023
        for value in (lam, torch.tensor(lam, dtype=torch.float64))
    )
    torch.testing.assert_close(as_tensor, as_float, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_a_lambda_tensor_of_any_dtype_leaves_float64_logits_exact(dtype, batch):
    # 5 is exact in each of them, 1 / 6 is not: the division must be done in the precision of the margin.
    features, weight, labels = batch(20, 6, 5)
    expected = lsoftmax_logits(features, weight, labels, m=4, lam=5.0)
    actual = lsoftmax_logits(features, weight, labels, m=4, lam=torch.tensor(5, dtype=dtype))
    torch.testing.assert_close(actual, expected, rtol=1e-14, atol=1e-13)


def test_a_lambda_tensor_in_half_precision_leaves_float32_logits_alone(batch):
    features, weight, labels = batch(20, 6, 5, torch.float32)
    expected = lsoftmax_logits(features, weight, labels, m=4, lam=5.0)
    actual = lsoftmax_logits(features, weight, labels, m=4, lam=torch.tensor(5.0, dtype=torch.bfloat16))
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("m", [2, 3, 4])
def test_the_margin_never_lowers_the_loss(m, batch):
    features, weight, labels = batch(200, 6, 5)
    plain = F.cross_entropy(F.linear(features, weight), labels, reduction="none")
    assert (lsoftmax_cross_entropy(features, weight, labels, m=m, reduction="none") >= plain - 1e-12).all()


def test_a_larger_margin_never_lowers_the_loss(batch):
    features, weight, labels = batch(200, 6, 5)
    losses = [lsoftmax_cross_entropy(features, weight, labels, m=m, reduction="none") for m in range(1, 9)]
    assert all((after >= before - 1e-12).all() for before, after in zip(losses, losses[1:], strict=False))


def test_the_logits_grow_in_proportion_to_the_features(batch):
    features, weight, labels = batch()
    once = lsoftmax_logits(features, weight, labels, m=4, lam=0.5)
    torch.testing.assert_close(lsoftmax_logits(7 * features, weight, labels, m=4, lam=0.5), 7 * once)
