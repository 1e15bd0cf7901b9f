"""The loss against definitions that share nothing with it: golden files, scalar loops, numpy, another library."""

import math

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import LargeMarginSoftmaxLoss

from lsoftmax import lsoftmax_cross_entropy, lsoftmax_logits

GRADIENTS = ["exact", "norms_live", "detached"]
# float64, logits of size 10: rounding of m^2-fold amplified cosines. Measured worst 2e-14.
TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(params=range(32))
def case(golden, request):
    return golden("loss")["cases"][request.param]


def tensors(case):
    features, weight = (torch.tensor(case[key], dtype=torch.float64) for key in ("x", "w"))
    return features, weight, torch.tensor(case["y"])


def assert_near(actual, expected, **tolerance):
    torch.testing.assert_close(
        actual.detach().double(), torch.as_tensor(expected, dtype=torch.float64), **(tolerance or TOLERANCE)
    )


def fused(labels, **options):
    return lambda features, weight: lsoftmax_cross_entropy(features, weight, labels, **options)


def unfused(labels, **options):
    return lambda features, weight: F.cross_entropy(lsoftmax_logits(features, weight, labels, **options), labels)


def slow_target_logit(x: list[float], w: list[float], m: int, lam: float) -> float:
    """The annealed target logit of one sample, read off the paper: an arccos, a k, a cosine."""
    norms = math.hypot(*x) * math.hypot(*w)
    dot = math.fsum(a * b for a, b in zip(x, w, strict=True))
    theta = math.acos(min(1.0, max(-1.0, dot / norms)))
    k = min(int(m * theta / math.pi), m - 1)
    psi = (-1) ** k * math.cos(m * theta) - 2 * k
    return (lam * dot + norms * psi) / (1 + lam)


def grid() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A row for every whole degree and pair of norms; a class of its own per norm of the weight, and one rival."""
    angle = torch.deg2rad(torch.arange(181, dtype=torch.float64) + 20)
    circle = torch.stack((angle.cos(), angle.sin()), dim=1)
    axis = circle[:1]  # no coordinate axis: products are rounded
    weight = torch.cat((0.02 * axis, axis, 9.0 * axis, torch.tensor([[-0.3, 0.7]], dtype=torch.float64)))
    features = torch.cat([norm * circle for norm in (1e-3, 1.0, 40.0)]).repeat(3, 1)
    return features, weight, torch.arange(3).repeat_interleave(3 * 181)


def test_the_reference_of_these_tests_equals_the_golden_values(case, reference):
    result = reference(*tensors(case), m=case["m"], lam=case["lam"])
    assert_near(torch.from_numpy(result.logits), case["logits"])
    assert_near(torch.from_numpy(result.grad_features), case["grad_x"])
    assert_near(torch.from_numpy(result.grad_weight), case["grad_w"])


def test_the_logits_equal_the_golden_values(case):
    assert_near(lsoftmax_logits(*tensors(case), m=case["m"], lam=case["lam"]), case["logits"])


def test_the_loss_of_each_sample_equals_the_golden_values(case):
    loss = lsoftmax_cross_entropy(*tensors(case), m=case["m"], lam=case["lam"], reduction="none")
    assert_near(loss, case["loss_per_sample"])


@pytest.mark.parametrize("path", [fused, unfused])
def test_the_mean_loss_and_both_gradients_equal_the_golden_values(case, path, gradients):
    features, weight, labels = tensors(case)
    results = gradients(path(labels, m=case["m"], lam=case["lam"]), features, weight)
    for actual, key in zip(results, ("loss_mean", "grad_x", "grad_w"), strict=True):
        assert_near(actual, case[key])


@pytest.mark.parametrize("path", [fused, unfused])
def test_float32_is_near_the_golden_values(case, path, gradients):
    features, weight, labels = tensors(case)
    results = gradients(path(labels, m=case["m"], lam=case["lam"]), features.float(), weight.float())
    for actual, key in zip(results, ("loss_mean", "grad_x", "grad_w"), strict=True):
        assert_near(actual, case[key], rtol=2e-5, atol=2e-5)  # float32: about 1e-5 at m <= 8


@pytest.mark.parametrize("lam", [0.0, 0.5, 5.0, 1000.0])
@pytest.mark.parametrize("m", range(1, 9))
def test_the_target_logit_equals_the_slow_definition_at_every_degree_and_norm(m, lam):
    features, weight, labels = grid()
    logits = lsoftmax_logits(features, weight, labels, m=m, lam=lam)
    rows = zip(features.tolist(), weight[labels].tolist(), strict=True)
    expected = torch.tensor([slow_target_logit(x, w, m, lam) for x, w in rows], dtype=torch.float64)
    norms = features.norm(dim=1) * weight[labels].norm(dim=1)
    error = (logits.gather(1, labels[:, None]).squeeze(1) - expected).abs() / norms
    assert error.max() < 1e-13 * m**2  # an eps in the cosine, times the slope m^2


@pytest.mark.parametrize("lam", [0.0, 0.5, 5.0, 1000.0])
@pytest.mark.parametrize("m", range(1, 9))
def test_the_loss_equals_the_slow_definition_at_every_degree_and_norm(m, lam):
    features, weight, labels = grid()
    loss = lsoftmax_cross_entropy(features, weight, labels, m=m, lam=lam, reduction="none")
    plain = (features @ weight.T).tolist()
    for x, y, row, actual in zip(features.tolist(), labels.tolist(), plain, loss.tolist(), strict=True):
        row[y] = slow_target_logit(x, weight[y].tolist(), m, lam)
        top = max(row)
        expected = top - row[y] + math.log(math.fsum(math.exp(f - top) for f in row))
        assert actual == pytest.approx(expected, rel=1e-12, abs=1e-14 * m**2 * max(1, top))


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("m", range(1, 9))
def test_both_gradients_equal_their_own_definition_at_every_degree_and_norm(m, gradient, reference, gradients):
    features, weight, labels = grid()
    for lam in (0.0, 0.5, 5.0, 1000.0):
        expected = reference(features, weight, labels, m=m, lam=lam, gradient=gradient)
        _, grad_x, grad_w = gradients(fused(labels, m=m, lam=lam, gradient=gradient), features, weight)
        assert_near(grad_x * len(labels), expected.grad_features * len(labels), rtol=1e-10, atol=1e-11)
        assert_near(grad_w, expected.grad_weight, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("lam", [0.0, 0.5, 5.0, 1000.0])
def test_the_target_logit_has_the_gradient_of_its_definition(lam, gradient, batch, reference):
    features, weight, labels = batch(40, 7, 40)
    labels = torch.arange(40)  # a class each: the rows of the weight's gradient are the samples'
    for m in range(1, 9):
        expected = reference(features, weight, labels, m=m, lam=lam, gradient=gradient)
        target = lsoftmax_logits(features, weight, labels, m=m, lam=lam, gradient=gradient).diagonal()
        grad_x, grad_w = torch.autograd.grad(target.sum(), (features, weight))
        assert_near(grad_x, expected.target_grad_features)
        assert_near(grad_w, expected.target_grad_weight)


@pytest.mark.parametrize("gradient", ["norms_live", "detached"])
def test_the_value_is_the_same_for_every_kind_of_gradient(gradient, batch):
    exact = lsoftmax_logits(*batch(), m=4, lam=0.5)
    torch.manual_seed(0)
    assert torch.equal(lsoftmax_logits(*batch(), m=4, lam=0.5, gradient=gradient), exact)


@pytest.mark.parametrize("gradient", ["norms_live", "detached"])
def test_the_loss_is_the_same_for_every_kind_of_gradient(gradient, batch):
    features, weight, labels = batch()
    exact = lsoftmax_cross_entropy(features, weight, labels, m=4, lam=0.5)
    assert torch.equal(lsoftmax_cross_entropy(features, weight, labels, m=4, lam=0.5, gradient=gradient), exact)


def test_detached_has_the_gradient_of_the_plain_layer(batch):
    features, weight, labels = batch()
    logits = lsoftmax_logits(features, weight, labels, m=4, gradient="detached")
    cotangent = torch.randn_like(logits)
    actual = torch.autograd.grad(logits, (features, weight), cotangent)
    expected = torch.autograd.grad(F.linear(features, weight), (features, weight), cotangent)
    torch.testing.assert_close(actual, expected, **TOLERANCE)


def test_exact_and_norms_live_share_the_radial_part(batch):
    features, weight, labels = batch()
    radial = {}
    for gradient in ("exact", "norms_live"):
        logits = lsoftmax_logits(features, weight, labels, m=4, gradient=gradient)
        target = logits.gather(1, labels[:, None])
        radial[gradient] = (torch.autograd.grad(target.sum(), features)[0] * features).sum(dim=1)
        torch.testing.assert_close(radial[gradient], target.squeeze(1), **TOLERANCE)  # Euler: x . df/dx = f


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("m", [1, 2, 4, 8])
def test_the_fused_loss_equals_the_cross_entropy_of_the_logits(m, reduction, batch, gradients):
    features, weight, labels = batch(20, 6, 5)
    logits = lambda x, w: lsoftmax_logits(x, w, labels, m=m, lam=0.3)  # noqa: E731
    apart = gradients(lambda x, w: F.cross_entropy(logits(x, w), labels, reduction=reduction), features, weight)
    together = gradients(fused(labels, m=m, lam=0.3, reduction=reduction), features, weight)
    torch.testing.assert_close(together, apart, **TOLERANCE)


def test_the_gradient_of_a_weighted_sum_of_losses_is_the_weighted_sum(batch, gradients):
    features, weight, labels = batch(20, 6, 5)
    share = torch.rand(20, dtype=torch.float64)
    logits = lambda x, w: lsoftmax_logits(x, w, labels, m=3)  # noqa: E731
    apart = lambda x, w: share * F.cross_entropy(logits(x, w), labels, reduction="none")  # noqa: E731
    together = lambda x, w: share * fused(labels, m=3, reduction="none")(x, w)  # noqa: E731
    torch.testing.assert_close(gradients(together, features, weight), gradients(apart, features, weight), **TOLERANCE)


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # its torch tensors meet scipy's binom
@pytest.mark.parametrize("m", range(1, 9))
def test_pytorch_metric_learning_agrees_at_lambda_0(m, batch, gradients):
    features, weight, labels = batch(30, 6, 5)
    peer = LargeMarginSoftmaxLoss(num_classes=5, embedding_size=6, margin=m, scale=1).double()
    peer.W.data = weight.detach().T.contiguous()  # (D, C) there
    samples = features.detach().requires_grad_()
    loss = peer(samples, labels)
    loss.backward()
    actual = gradients(fused(labels, m=m), features, weight)
    torch.testing.assert_close(actual, (loss.detach(), samples.grad, peer.W.grad.T), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype, gap", [(torch.float32, 20.0), (torch.float64, 40.0)])
def test_a_confident_sample_keeps_the_digits_of_its_gradient(dtype, gap, gradients):
    # p_y - 1 = -1 / (1 + e^gap), below the resolution of 1 - p_y and of log p_y: only the others' sum still has it.
    features, weight = torch.tensor([[1.0, 0.0]], dtype=dtype), torch.tensor([[gap, 0.0], [0.0, 1.0]], dtype=dtype)
    _, grad_x, _ = gradients(fused(torch.tensor([0]), m=2), features, weight)
    assert grad_x[0, 0].item() == pytest.approx(-gap / (1 + math.exp(gap)), rel=1e-5, abs=0)
