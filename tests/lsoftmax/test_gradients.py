"""The closed-form backward as a citizen of autograd: gradcheck, repeated calls, partial requests, no second order."""

import math

import pytest
import torch
import torch.nn.functional as F

from lsoftmax import lsoftmax_cross_entropy, lsoftmax_logits

MARGINS = range(1, 9)
GRADIENTS = ["exact", "norms_live", "detached"]
FUNCTIONS = [lsoftmax_logits, lsoftmax_cross_entropy]


def at_angles(m: int, degrees: list[float]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Four-dimensional features at these angles, in degrees, to the weights of their own classes."""
    n = len(degrees)
    theta = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))[:, None]
    axes = F.normalize(torch.randn(n, 4, dtype=torch.float64))
    across = torch.randn(n, 4, dtype=torch.float64)
    across = F.normalize(across - (across * axes).sum(1, keepdim=True) * axes)
    features = (theta.cos() * axes + theta.sin() * across) * torch.linspace(0.5, 2, n, dtype=torch.float64)[:, None]
    weight = axes * torch.linspace(1.5, 0.7, n, dtype=torch.float64)[:, None]
    return features.requires_grad_(), weight.requires_grad_(), torch.arange(n)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("m", MARGINS)
def test_gradcheck_away_from_the_boundaries(m, function):
    features, weight, labels = at_angles(m, [180 / m * (k + 0.4) for k in range(m)])
    assert torch.autograd.gradcheck(lambda x, w: function(x, w, labels, m=m, lam=0.2), (features, weight))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("m", range(2, 9))
def test_gradcheck_on_the_boundaries(m, function):
    features, weight, labels = at_angles(m, [180 / m * j for j in range(1, m)])
    # Central differences are off by about h m^2 |w| / |x| / 2, here 2e-5, where the second derivative jumps.
    call = lambda x, w: function(x, w, labels, m=m)  # noqa: E731
    assert torch.autograd.gradcheck(call, (features, weight), eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("m", MARGINS)
def test_gradcheck_at_parallel_and_opposite(m):
    features, weight, labels = at_angles(m, [0.0, 180.0])
    call = lambda x, w: lsoftmax_cross_entropy(x, w, labels, m=m)  # noqa: E731
    assert torch.autograd.gradcheck(call, (features, weight), eps=1e-6, atol=1e-4)


@pytest.mark.parametrize("gradient", ["norms_live", "detached"])
def test_gradcheck_of_a_constant_correction_passes_against_that_constant(gradient):
    features, weight, labels = at_angles(4, [20.0, 70.0, 110.0, 160.0])
    cosine = F.cosine_similarity(features, weight).detach()[:, None]
    norms = (features.norm(dim=1) * weight.norm(dim=1))[:, None]
    shift = (lsoftmax_logits(features, weight, labels, m=4).diagonal()[:, None] / norms - cosine).detach()

    def plain(x, w):  # what autograd makes of the definition
        live = x.norm(dim=1, keepdim=True) * w.norm(dim=1, keepdim=True)
        return x @ w.T + torch.eye(4) * shift * (live if gradient == "norms_live" else norms.detach())

    actual = torch.autograd.grad(
        lsoftmax_logits(features, weight, labels, m=4, gradient=gradient).sum(), (features, weight)
    )
    expected = torch.autograd.grad(plain(features, weight).sum(), (features, weight))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_repeated_backward_gives_the_same_gradients(function, gradient, batch):
    features, weight, labels = batch()
    value = function(features, weight, labels, m=4, lam=0.5, gradient=gradient)
    value = value.square().sum()  # a cotangent that is no constant
    first = torch.autograd.grad(value, (features, weight), retain_graph=True)
    kept = [grad.clone() for grad in first]
    second = torch.autograd.grad(value, (features, weight))
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(first, second, kept, strict=True))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("wanted", [0, 1])
def test_only_the_tensor_that_asks_gets_a_gradient(function, wanted, batch):
    features, weight, labels = batch()
    both = torch.autograd.grad(function(features, weight, labels, m=3).sum(), (features, weight))
    features.requires_grad_(wanted == 0), weight.requires_grad_(wanted == 1)
    function(features, weight, labels, m=3).sum().backward()
    alone = (features.grad, weight.grad)
    assert torch.equal(alone[wanted], both[wanted])
    assert alone[1 - wanted] is None


@pytest.mark.parametrize("function", FUNCTIONS)
def test_without_a_request_there_is_no_graph(function, batch):
    features, weight, labels = batch()
    assert not function(features.detach(), weight.detach(), labels, m=3).requires_grad


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_lambda_changed_after_the_forward_pass_does_not_change_the_gradient(function, batch):
    features, weight, labels = batch()
    lam = torch.tensor(0.5)
    expected = torch.autograd.grad(function(features, weight, labels, m=4, lam=lam).sum(), features)
    value = function(features, weight, labels, m=4, lam=lam)
    lam.fill_(1000.0)
    assert torch.equal(torch.autograd.grad(value.sum(), features)[0], expected[0])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_gradient_of_a_sum_of_two_calls_is_the_sum(function, batch):
    features, weight, labels = batch()
    calls = [lambda m=m: function(features, weight, labels, m=m).sum() for m in (2, 4)]
    apart = [torch.autograd.grad(call(), weight)[0] for call in calls]
    torch.testing.assert_close(torch.autograd.grad(calls[0]() + calls[1](), weight)[0], sum(apart))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_gradient_penalty_is_refused_and_not_ignored(function, gradient, batch):
    features, weight, labels = batch()
    value = function(features, weight, labels, m=4, gradient=gradient).sum()
    with pytest.raises(RuntimeError, match="second derivative"):
        (first,) = torch.autograd.grad(value, features, create_graph=True)
        (value + first.square().sum()).backward()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_gradient_penalty_on_a_varying_cotangent_is_refused(function, batch):
    features, weight, labels = batch()
    value = function(features, weight, labels, m=4).square().sum()
    with pytest.raises(RuntimeError, match="second derivative"):
        (first,) = torch.autograd.grad(value, features, create_graph=True)
        (value + first.square().sum()).backward()


@pytest.mark.parametrize("m", [2, 4, 8])
def test_the_gradient_of_the_target_logit_stays_within_its_bound(m, batch):
    features, weight, _ = batch(500, 5, 500)
    target = lsoftmax_logits(features, weight, torch.arange(500), m=m).diagonal()
    (grad,) = torch.autograd.grad(target.sum(), features)
    bound = weight.norm(dim=1) * math.hypot(2 * m - 1, m)
    assert (grad.norm(dim=1) <= bound * (1 + 1e-12)).all()
