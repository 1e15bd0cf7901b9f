"""Half precision and autocast: the dtypes that come back, and an error that does not grow with m.

The unit roundoff u is 2^-8 = 3.9e-3 for bfloat16 (the 4e-3 of the plain matmul) and 2^-11 for float16. The references
are float64, from the numbers that the function was given. Measured worst over m = 1..8, in units of u:
    target logit 1.7 of max(|w||x|, |f|), other logits 0.6, fused loss 1.05 of the largest |w_j||x|,
    gradient of the features 1.05 of |w| sqrt((2m - 1)^2 + m^2), the largest that |df/dx| can be; of the weight 0.04.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from lsoftmax import lsoftmax_cross_entropy, lsoftmax_logits

MARGINS = range(1, 9)
UNIT = {torch.bfloat16: 2**-8, torch.float16: 2**-11}
HALF = pytest.mark.parametrize("half", UNIT)
AUTOCAST = pytest.mark.parametrize("autocast", [False, True], ids=["half_inputs", "autocast"])


@pytest.fixture
def problem():
    """problem(dtype) -> features at every angle to their weights, |w||x| from 0 to 8; weight; labels."""

    def make(dtype: torch.dtype):
        weight = 0.3 * torch.randn(8, 32, dtype=torch.float64)
        labels = torch.randint(8, (512,))
        axis, across = F.normalize(weight[labels]), torch.randn(512, 32, dtype=torch.float64)
        across = F.normalize(across - (across * axis).sum(dim=1, keepdim=True) * axis)
        theta = torch.linspace(0, math.pi, 512, dtype=torch.float64)[:, None]
        features = (theta.cos() * axis + theta.sin() * across) * 4 * torch.rand(512, 1, dtype=torch.float64)
        return features.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_(), labels

    return make


def norms(features, weight) -> torch.Tensor:
    """|x||w_j|, (N, C), float64."""
    return torch.outer(features.detach().double().norm(dim=1), weight.detach().double().norm(dim=1))


def in_autocast(half: torch.dtype, autocast: bool):
    return torch.autocast("cpu", half, enabled=autocast)


@pytest.mark.parametrize("m", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_logits_and_both_gradients_have_the_inputs_dtype(dtype, m, batch):
    features, weight, labels = batch(dtype=dtype)
    logits = lsoftmax_logits(features, weight, labels, m=m)
    logits.float().sum().backward()
    assert (logits.dtype, features.grad.dtype, weight.grad.dtype) == (dtype, dtype, dtype)


@pytest.mark.parametrize("m", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_loss_is_float32_or_better_and_its_gradients_have_the_inputs_dtype(dtype, m, batch):
    features, weight, labels = batch(dtype=dtype)
    loss = lsoftmax_cross_entropy(features, weight, labels, m=m)
    loss.backward()
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert (features.grad.dtype, weight.grad.dtype) == (dtype, dtype)


@HALF
@pytest.mark.parametrize("m", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_under_autocast_the_logits_have_the_dtype_of_a_linear_layers(dtype, m, half, batch):
    features, weight, labels = batch(dtype=dtype)
    with torch.autocast("cpu", half):
        logits, plain = lsoftmax_logits(features, weight, labels, m=m), F.linear(features, weight)
    assert logits.dtype == plain.dtype


@HALF
@pytest.mark.parametrize("m", [1, 4])
def test_under_autocast_float64_stays_exact(m, half, batch, reference):
    # nn.Linear leaves float64 alone under autocast.
    features, weight, labels = batch()
    with torch.autocast("cpu", half):
        loss = lsoftmax_cross_entropy(features, weight, labels, m=m)
    assert loss.item() == pytest.approx(reference(features, weight, labels, m=m).loss.mean(), rel=1e-12)


@HALF
@pytest.mark.parametrize("m", [1, 4])
@pytest.mark.parametrize("function", [lsoftmax_logits, lsoftmax_cross_entropy])
def test_under_autocast_master_weights_get_float32_gradients(function, m, half, batch):
    features, weight, labels = batch(dtype=torch.float32)
    with torch.autocast("cpu", half):
        value = function(features.to(half), weight, labels, m=m).sum()
    value.float().backward()
    assert weight.dtype == weight.grad.dtype == torch.float32


@HALF
@pytest.mark.parametrize("function", [lsoftmax_logits, lsoftmax_cross_entropy])
def test_the_backward_pass_may_run_inside_or_outside_autocast(function, half, batch):
    features, weight, labels = batch(dtype=torch.float32)
    with torch.autocast("cpu", half):
        value = function(features, weight, labels, m=4).sum()
        inside = torch.autograd.grad(value, (features, weight), retain_graph=True)
    outside = torch.autograd.grad(value, (features, weight))
    assert all(torch.equal(a, b) for a, b in zip(inside, outside, strict=True))


@HALF
@pytest.mark.parametrize("function", [lsoftmax_logits, lsoftmax_cross_entropy])
def test_a_backward_pass_inside_autocast_leaves_a_float32_forward_pass_alone(function, half, batch):
    features, weight, labels = batch(dtype=torch.float32)
    value = function(features, weight, labels, m=4).sum()
    outside = torch.autograd.grad(value, (features, weight), retain_graph=True)
    with torch.autocast("cpu", half):
        inside = torch.autograd.grad(value, (features, weight))
    assert all(torch.equal(a, b) for a, b in zip(inside, outside, strict=True))


@HALF
@AUTOCAST
@pytest.mark.parametrize("m", MARGINS)
def test_the_target_logit_is_rounded_twice_at_most_whatever_m(m, autocast, half, problem, reference):
    features, weight, labels = problem(torch.float32 if autocast else half)
    with in_autocast(half, autocast):
        logits = lsoftmax_logits(features, weight, labels, m=m)
    expected = torch.from_numpy(reference(features, weight, labels, m=m).logits)
    scale = torch.maximum(norms(features, weight), expected.abs())
    assert ((logits.double() - expected).abs() / scale).max() < 2 * UNIT[half]


@HALF
@AUTOCAST
@pytest.mark.parametrize("m", MARGINS)
def test_the_fused_loss_has_the_error_of_the_plain_matmul_whatever_m(m, autocast, half, problem, reference):
    features, weight, labels = problem(torch.float32 if autocast else half)
    with in_autocast(half, autocast):
        loss = lsoftmax_cross_entropy(features, weight, labels, m=m, reduction="none")
    error = (loss.double() - torch.from_numpy(reference(features, weight, labels, m=m).loss)).abs()
    assert (error / norms(features, weight).amax(dim=1)).max() < 1.5 * UNIT[half]


@HALF
@AUTOCAST
@pytest.mark.parametrize("m", MARGINS)
def test_the_features_gradient_has_an_error_of_its_largest_size_whatever_m(m, autocast, half, problem, reference):
    features, weight, labels = problem(torch.float32 if autocast else half)
    with in_autocast(half, autocast):
        loss = lsoftmax_cross_entropy(features, weight, labels, m=m, reduction="sum")
    (grad,) = torch.autograd.grad(loss, features)
    expected = len(labels) * torch.from_numpy(reference(features, weight, labels, m=m).grad_features)
    largest = weight.detach().double().norm(dim=1).max() * math.hypot(2 * m - 1, m)
    assert ((grad.double() - expected).norm(dim=1) / largest).max() < 2 * UNIT[half]


@HALF
@AUTOCAST
@pytest.mark.parametrize("m", MARGINS)
def test_the_weights_gradient_has_an_error_of_its_largest_size_whatever_m(m, autocast, half, problem, reference):
    features, weight, labels = problem(torch.float32 if autocast else half)
    with in_autocast(half, autocast):
        loss = lsoftmax_cross_entropy(features, weight, labels, m=m, reduction="sum")
    (grad,) = torch.autograd.grad(loss, weight)
    expected = len(labels) * torch.from_numpy(reference(features, weight, labels, m=m).grad_weight)
    largest = features.detach().double().norm(dim=1).sum() * math.hypot(2 * m - 1, m)
    assert ((grad.double() - expected).norm(dim=1) / largest).max() < 0.2 * UNIT[half]


@HALF
def test_autocast_takes_the_margin_from_the_float32_inputs(half, reference):
    # 0.03 rad from opposite: rounding to bfloat16 or float16 first would turn them by up to 10 or 1 % of that.
    direction = torch.tensor([[math.cos(1.0), math.sin(1.0)], [0.0, 0.0]])
    features, labels = -100 * torch.tensor([[math.cos(1.03), math.sin(1.03)]]), torch.tensor([0])
    with torch.autocast("cpu", half):
        margin, plain = (lsoftmax_cross_entropy(features, direction, labels, m=m) for m in (8, 1))
    expected = [reference(features, direction, labels, m=m).loss.item() for m in (8, 1)]
    assert (margin - plain).item() == pytest.approx(expected[0] - expected[1], abs=2e-3)  # 1397.2; parallel: 1400


def test_float16_logits_stay_finite_where_the_margin_leaves_its_range():
    features, weight = torch.full((1, 4), -90.0).half(), torch.full((2, 4), 90.0).half()
    logits = lsoftmax_logits(features, weight, torch.tensor([0]), m=4)
    assert logits.isfinite().all()


def test_a_float16_loss_is_right_where_the_margin_leaves_its_range(reference):
    features, weight = torch.full((1, 4), -90.0).half(), torch.tensor([[90.0] * 4, [1.0] * 4]).half()
    labels = torch.tensor([0])
    loss = lsoftmax_cross_entropy(features, weight, labels, m=4).item()
    assert loss == pytest.approx(reference(features, weight, labels, m=4).loss[0], rel=1e-3)  # 226,440


@HALF
@pytest.mark.parametrize("gradient", ["exact", "norms_live", "detached"])
def test_half_precision_rows_of_one_class_are_summed_in_float32(gradient, half):
    # 512 equal terms: a half-precision sum would stop growing at 2 / u of them.
    features, weight = torch.ones(512, 2).to(half), torch.tensor([[1.0, 1.0], [0.5, -0.5]]).to(half).requires_grad_()
    labels = torch.zeros(512, dtype=torch.int64)
    once, often = (
        torch.autograd.grad(lsoftmax_cross_entropy(x, weight, y, m=4, gradient=gradient, reduction="sum"), weight)[0]
        for x, y in ((features[:1], labels[:1]), (features, labels))
    )
    torch.testing.assert_close(often, 512 * once, rtol=2 * UNIT[half], atol=0)
