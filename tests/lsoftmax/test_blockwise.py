"""The walk over blocks of classes against the reference and against the loss that holds all logits."""

import math

import numpy as np
import pytest
import torch

from lsoftmax import lsoftmax_cross_entropy

KINDS = ["exact", "norms_live", "detached"]


def loss_and_gradients(features, weight, labels, **options):
    x, w = features.detach().requires_grad_(), weight.detach().requires_grad_()
    loss = lsoftmax_cross_entropy(x, w, labels, **options)
    return loss.detach(), *torch.autograd.grad(loss.sum(), (x, w))


@pytest.mark.parametrize("class_block", [1, 2, 3, 6, 7, 12])  # 13 classes: no block but 1 divides them
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("m", [2, 3, 4])
def test_every_block_size_gives_the_reference(class_block, kind, m, batch, reference):
    features, weight, labels = batch(n=20, d=8, c=13)
    loss, grad_x, grad_w = loss_and_gradients(
        features, weight, labels, m=m, lam=0.3, gradient=kind, class_block=class_block
    )
    expected = reference(features, weight, labels, m=m, lam=0.3, gradient=kind)
    assert loss.item() == pytest.approx(expected.loss.mean(), rel=1e-12)
    np.testing.assert_allclose(grad_x, expected.grad_features, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(grad_w, expected.grad_weight, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("lam", [0.0, 5.0, math.inf, torch.tensor(2.0)])
@pytest.mark.parametrize("m", [1, 4])
def test_blocks_change_nothing(reduction, lam, m, batch):
    features, weight, labels = batch(n=9, d=4, c=10)
    options = {"m": m, "lam": lam, "reduction": reduction}
    plain = loss_and_gradients(features, weight, labels, **options)
    blocks = loss_and_gradients(features, weight, labels, **options, class_block=4)
    for one, other in zip(plain, blocks, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_is_as_near_as_with_all_logits(dtype, autocast, batch):
    features, weight, labels = batch(n=12, d=16, c=11, dtype=torch.float32 if autocast else dtype)
    with torch.autocast("cpu", dtype=dtype, enabled=autocast):
        plain = loss_and_gradients(features, weight, labels, m=4)
        blocks = loss_and_gradients(features, weight, labels, m=4, class_block=3)
    for one, other in zip(plain, blocks, strict=True):
        assert one.dtype == other.dtype
        scale = one.float().abs().max()
        assert (one.float() - other.float()).abs().max() <= 2 * torch.finfo(dtype).eps * scale


def test_half_precision_gradients_of_many_blocks_are_summed_in_float32():
    """Two thousand equal parts: each is lost beside the sum of the others in bfloat16."""
    features, labels = torch.randn(8, 2, dtype=torch.bfloat16), torch.zeros(8, dtype=torch.int64)
    weight = torch.tensor([[0.0, 1.0], *[[1.0, 0.0]] * 2000], dtype=torch.bfloat16)
    plain = loss_and_gradients(features, weight, labels, m=4)[1]
    blocks = loss_and_gradients(features, weight, labels, m=4, class_block=1)[1]
    assert (plain - blocks).abs().max() <= 2 * torch.finfo(torch.bfloat16).eps * plain.abs().max()


def test_a_confident_sample_keeps_its_loss_and_gradient(reference):
    """40 nats ahead: what is left of the loss is far below the precision of a sum that holds the target."""
    weight = torch.tensor([[40.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    features, labels = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    loss, grad_x, _ = loss_and_gradients(features, weight, labels, m=2, class_block=1)
    expected = reference(features, weight, labels, m=2)
    assert loss.item() == pytest.approx(float(expected.loss[0]), rel=1e-5)
    np.testing.assert_allclose(grad_x, expected.grad_features, rtol=1e-5)


def test_zero_vectors_and_far_logits_stay_finite():
    weight = torch.randn(6, 3)
    weight[2] = 0
    features = torch.tensor([[0.0, 0.0, 0.0], [1e18, 0.0, 0.0], [1e-18, 0.0, 0.0], [1.0, 2.0, 3.0]])
    for value in loss_and_gradients(features, weight, torch.tensor([0, 1, 5, 2]), m=4, class_block=2):
        assert value.isfinite().all()


@pytest.mark.parametrize("wanted", ["features", "weight"])
def test_one_gradient_alone(wanted, batch):
    features, weight, labels = batch()
    _, *both = loss_and_gradients(features, weight, labels, m=3, class_block=3)
    chosen = features if wanted == "features" else weight
    chosen.requires_grad_()
    loss = lsoftmax_cross_entropy(features, weight, labels, m=3, class_block=3)
    (grad,) = torch.autograd.grad(loss, chosen)
    torch.testing.assert_close(grad, both[wanted == "weight"])


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "4"])
def test_a_wrong_block_is_named(value, batch):
    with pytest.raises(ValueError, match=f"class_block must be None or an integer >= 1, got {value!r}"):
        lsoftmax_cross_entropy(*batch(), m=2, class_block=value)


def test_no_second_derivative(batch):
    features, weight, labels = batch()
    loss = lsoftmax_cross_entropy(features.requires_grad_(), weight, labels, m=2, class_block=2)
    with pytest.raises(RuntimeError, match="create_graph"):
        torch.autograd.grad(loss, features, create_graph=True)


def test_it_never_holds_all_logits(batch):
    """No tensor of the pass is as large as (N, C)."""
    from torch.utils._python_dispatch import TorchDispatchMode

    n, d, c = 32, 4, 5000
    features, weight, labels = batch(n=n, d=d, c=c, dtype=torch.float32)
    sizes = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            sizes.extend(t.numel() for t in (result if isinstance(result, tuple) else (result,)) if torch.is_tensor(t))
            return result

    with Sizes():
        loss_and_gradients(features, weight, labels, m=4, class_block=100)
    assert max(sizes) <= c * d  # the weight and its gradient
    assert c * d < n * c
