"""Right at the edges: parallel, opposite, orthogonal, zero, tiny, huge, on the boundaries; the smallest batches."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from lsoftmax import lsoftmax_cross_entropy, lsoftmax_logits

MARGINS = range(1, 9)
GRADIENTS = ["exact", "norms_live", "detached"]
NORMS = [1e-18, 1e-9, 1e-3, 1.0, 1e3, 1e9, 1e18]
NORM_PAIRS = list(itertools.product(NORMS, NORMS))
# float32 against float64 from the same numbers, relative to |w||x| for values and to |w| (|x|) for gradients.
# An eps of 6e-8 in the cosine comes out of psi as m^2 eps, out of its slope as m^4 eps / 3. Measured worst:
# logits 1.1e-5 (m = 8, D = 512), gradients of a batch of 8 2e-6.
FLOAT32 = 2e-5


def row_norm(rows) -> torch.Tensor:
    return rows.detach().double().norm(dim=1)


def at_angles(degrees, size: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """float64 features at these angles to a weight of norm 1.7, beside one rival class."""
    axis, across = torch.linalg.qr(torch.randn(size, 2, dtype=torch.float64))[0].T
    theta = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))[:, None]
    features = 0.6 * (theta.cos() * axis + theta.sin() * across)
    weight = torch.stack((1.7 * axis, torch.randn(size, dtype=torch.float64)))
    return features, weight, torch.zeros(len(degrees), dtype=torch.int64)


def scaled_problem(size: int, feature_norm: float, weight_norm: float):
    """float32; among the features one parallel, one opposite and one nearly orthogonal to its weight."""
    weight = F.normalize(torch.randn(3, size, dtype=torch.float64))
    features = F.normalize(torch.randn(8, size, dtype=torch.float64))
    features[0], features[1] = weight[0], -weight[1]
    features[2] = F.normalize(features[2] - (features[2] @ weight[2]) * weight[2], dim=0)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    return (feature_norm * features).float(), (weight_norm * weight).float(), labels


# Parallel, opposite, orthogonal, the segment boundaries


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("m", MARGINS)
def test_values_and_gradients_are_right_at_parallel_orthogonal_and_opposite(m, gradient, reference, gradients):
    features, weight, labels = at_angles([0, 90, 180])
    expected = reference(features, weight, labels, m=m, gradient=gradient)
    loss = lambda x, w: lsoftmax_cross_entropy(x, w, labels, m=m, gradient=gradient)  # noqa: E731
    value, grad_x, grad_w = gradients(loss, features, weight)
    assert value.item() == pytest.approx(expected.loss.mean(), rel=1e-13)
    # At 0 and 180 degrees the turn of 1e-8 that rounding leaves is worth 1e-8 m^2 in neither: both forms are smooth.
    torch.testing.assert_close(grad_x, torch.from_numpy(expected.grad_features), rtol=0, atol=1e-12)
    torch.testing.assert_close(grad_w, torch.from_numpy(expected.grad_weight), rtol=0, atol=1e-12)


@pytest.mark.parametrize("m", range(2, 9))
@pytest.mark.parametrize("shift", [-1e-7, 0.0, 1e-7])
def test_values_and_gradients_are_right_on_and_beside_the_segment_boundaries(m, shift, reference, gradients):
    features, weight, labels = at_angles([180 * j / m + shift for j in range(1, m)])
    expected = reference(features, weight, labels, m=m)
    loss = lambda x, w: lsoftmax_cross_entropy(x, w, labels, m=m)  # noqa: E731
    value, grad_x, grad_w = gradients(loss, features, weight)
    assert value.item() == pytest.approx(expected.loss.mean(), rel=1e-12)
    torch.testing.assert_close(grad_x, torch.from_numpy(expected.grad_features), rtol=0, atol=1e-11)
    torch.testing.assert_close(grad_w, torch.from_numpy(expected.grad_weight), rtol=0, atol=1e-11)


@pytest.mark.parametrize("m", MARGINS)
def test_the_target_logit_of_an_opposite_feature_is_1_minus_2m_norms(m):
    features, weight, labels = at_angles([180])
    target = lsoftmax_logits(features, weight, labels, m=m)[0, 0].item()
    assert target == pytest.approx((1 - 2 * m) * 0.6 * 1.7, rel=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_cosine_rounded_beyond_1_gives_finite_gradients(dtype, sign, batch):
    features, weight, _ = batch(200, 33, 200, dtype)
    features = (sign * 3 * weight.detach()).requires_grad_()
    loss = lsoftmax_cross_entropy(features, weight, torch.arange(200), m=4)
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(loss, (features, weight)))


# Zero features and weights: cos := 0, the unit vector := 0


@pytest.fixture(params=["features", "weight", "both"])
def zeros(request, batch):
    features, weight, labels = batch(6, 5, 4)
    with torch.no_grad():
        if request.param != "weight":
            features[2] = 0
        if request.param != "features":
            weight[labels[2]] = 0
    return features, weight, labels


@pytest.mark.parametrize("m", MARGINS)
def test_the_target_logit_is_0_where_a_norm_is_0(m, zeros):
    features, weight, labels = zeros
    assert lsoftmax_logits(features, weight, labels, m=m)[2, labels[2]] == 0


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("m", MARGINS)
def test_gradients_follow_the_convention_where_a_norm_is_0(m, gradient, zeros, reference):
    features, weight, labels = zeros
    expected = reference(features, weight, labels, m=m, lam=0.5, gradient=gradient)
    loss = lsoftmax_cross_entropy(features, weight, labels, m=m, lam=0.5, gradient=gradient)
    grad_x, grad_w = torch.autograd.grad(loss, (features, weight))
    torch.testing.assert_close(grad_x, torch.from_numpy(expected.grad_features), rtol=0, atol=1e-12)
    torch.testing.assert_close(grad_w, torch.from_numpy(expected.grad_weight), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_batch_of_zeros_gives_the_loss_of_chance_and_finite_gradients(dtype):
    features = torch.zeros(3, 5, dtype=dtype, requires_grad=True)
    weight = torch.zeros(4, 5, dtype=dtype, requires_grad=True)
    loss = lsoftmax_cross_entropy(features, weight, torch.tensor([0, 1, 1]), m=4)
    assert loss.item() == pytest.approx(math.log(4))
    assert not any(grad.any() for grad in torch.autograd.grad(loss, (features, weight)))


# Norms from 1e-18 to 1e18 in float32


@pytest.mark.parametrize("m", [2, 4, 8])
@pytest.mark.parametrize("size", [2, 64, 512])
def test_float32_logits_are_float64s_at_every_norm(size, m, reference):
    for feature_norm, weight_norm in NORM_PAIRS:
        features, weight, labels = scaled_problem(size, feature_norm, weight_norm)
        expected = torch.from_numpy(reference(features, weight, labels, m=m).logits)
        error = (lsoftmax_logits(features, weight, labels, m=m).double() - expected).abs().max()
        assert error < FLOAT32 * feature_norm * weight_norm, (feature_norm, weight_norm)


@pytest.mark.parametrize("m", [2, 4, 8])
@pytest.mark.parametrize("size", [2, 64, 512])
def test_float32_losses_are_float64s_at_every_norm(size, m, reference):
    for feature_norm, weight_norm in NORM_PAIRS:
        features, weight, labels = scaled_problem(size, feature_norm, weight_norm)
        expected = torch.from_numpy(reference(features, weight, labels, m=m).loss)
        actual = lsoftmax_cross_entropy(features, weight, labels, m=m, reduction="none").double()
        assert (actual - expected).abs().max() < FLOAT32 * max(1, feature_norm * weight_norm)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("m", [2, 4, 8])
@pytest.mark.parametrize("size", [2, 64, 512])
def test_float32_gradients_are_float64s_at_every_norm(size, m, gradient, reference, gradients):
    for feature_norm, weight_norm in NORM_PAIRS:
        features, weight, labels = scaled_problem(size, feature_norm, weight_norm)
        expected = reference(features, weight, labels, m=m, gradient=gradient)
        loss = lambda x, w: lsoftmax_cross_entropy(x, w, labels, m=m, gradient=gradient)  # noqa: B023, E731
        _, grad_x, grad_w = gradients(loss, features, weight)
        error_x = row_norm(grad_x.double() - torch.from_numpy(expected.grad_features)).max()
        error_w = row_norm(grad_w.double() - torch.from_numpy(expected.grad_weight)).max()
        assert error_x < FLOAT32 * weight_norm and error_w < FLOAT32 * feature_norm, (feature_norm, weight_norm)


@pytest.mark.parametrize("m", [2, 4, 8])
def test_float32_gradients_of_the_logits_are_float64s_at_every_norm(m, reference):
    for feature_norm, weight_norm in NORM_PAIRS:
        features, weight, labels = scaled_problem(64, feature_norm, weight_norm)
        expected = torch.from_numpy(reference(features, weight, labels, m=m).target_grad_features)
        features.requires_grad_()
        target = lsoftmax_logits(features, weight, labels, m=m).gather(1, labels[:, None])
        (grad,) = torch.autograd.grad(target.sum(), features)
        assert row_norm(grad.double() - expected).max() < m * FLOAT32 * weight_norm, (feature_norm, weight_norm)


@pytest.mark.parametrize("m", [2, 4, 8])
def test_features_and_weights_of_very_different_norms_share_a_batch(m, reference, gradients):
    features, weight, labels = scaled_problem(64, 1.0, 1.0)
    features = features * torch.logspace(-18, 18, 8)[:, None]
    weight = weight * torch.tensor([1e-18, 1.0, 1e18])[:, None]
    expected = torch.from_numpy(reference(features, weight, labels, m=m).grad_features)
    loss, grad_x, grad_w = gradients(lambda x, w: lsoftmax_cross_entropy(x, w, labels, m=m), features, weight)
    assert loss.isfinite() and grad_w.isfinite().all()
    assert (row_norm(grad_x.double() - expected) < FLOAT32 * 1e18).all()


# The smallest shapes


def test_a_batch_of_one_equals_its_row_in_a_larger_batch(batch):
    features, weight, labels = batch()
    together = lsoftmax_cross_entropy(features, weight, labels, m=4, reduction="none")
    for row in range(len(labels)):
        alone = lsoftmax_cross_entropy(features[row : row + 1], weight, labels[row : row + 1], m=4)
        assert alone.item() == pytest.approx(together[row].item(), rel=1e-14)


@pytest.mark.parametrize("m", [1, 4])
def test_an_empty_batch_gives_what_torch_gives(m, batch):
    features, weight, labels = batch(0)
    assert lsoftmax_logits(features, weight, labels, m=m).shape == (0, 4)
    assert lsoftmax_cross_entropy(features, weight, labels, m=m, reduction="sum") == 0
    assert lsoftmax_cross_entropy(features, weight, labels, m=m, reduction="none").shape == (0,)
    assert lsoftmax_cross_entropy(features, weight, labels, m=m).isnan()  # as F.cross_entropy's


@pytest.mark.parametrize("m", [1, 4])
def test_an_empty_batch_has_a_gradient_of_0(m, batch):
    features, weight, labels = batch(0)
    lsoftmax_cross_entropy(features, weight, labels, m=m, reduction="sum").backward()
    assert features.grad.shape == (0, 5) and torch.equal(weight.grad, torch.zeros_like(weight))


@pytest.mark.parametrize("m", [1, 4])
def test_a_single_class_leaves_nothing_to_lose(m, batch):
    features, weight, labels = batch(6, 5, 1)
    loss = lsoftmax_cross_entropy(features, weight, labels, m=m)
    assert loss == 0
    assert not any(grad.any() for grad in torch.autograd.grad(loss, (features, weight)))


@pytest.mark.parametrize("m", [1, 4])
def test_features_of_one_number_are_parallel_or_opposite(m):
    features, weight = torch.tensor([[2.0], [-2.0]]), torch.tensor([[3.0], [-1.0]])
    logits = lsoftmax_logits(features, weight, torch.tensor([0, 0]), m=m)
    torch.testing.assert_close(logits, torch.tensor([[6.0, -2.0], [6.0 * (1 - 2 * m), 2.0]]))


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_samples_of_one_class_add_up_in_its_gradient(gradient, batch):
    features, weight, _ = batch(6)
    together = lsoftmax_cross_entropy(features, weight, torch.full((6,), 2), m=4, gradient=gradient, reduction="none")
    parts = [torch.autograd.grad(loss, weight, retain_graph=True)[0] for loss in together]
    torch.testing.assert_close(torch.autograd.grad(together.sum(), weight)[0], sum(parts), rtol=1e-12, atol=1e-13)


def test_a_mean_is_finite_where_the_sum_of_the_losses_is_not():
    features, weight = torch.full((10, 1), 1e38), torch.tensor([[1.0], [0.0]])
    loss = lsoftmax_cross_entropy(features, weight, torch.ones(10, dtype=torch.int64), m=4)
    assert loss.item() == pytest.approx(1e38)
