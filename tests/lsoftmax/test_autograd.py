"""What torch's own tools do with a differentiable function, they can do with ours."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from lsoftmax import lsoftmax_cross_entropy, lsoftmax_logits


def by_logits(features, weight, labels, **options):
    return F.cross_entropy(lsoftmax_logits(features, weight, labels, m=4, lam=0.5, **options), labels)


def fused(features, weight, labels, **options):
    return lsoftmax_cross_entropy(features, weight, labels, m=4, lam=0.5, **options)


def in_blocks(features, weight, labels, **options):
    return lsoftmax_cross_entropy(features, weight, labels, m=4, lam=0.5, class_block=2, **options)


LOSSES = [by_logits, fused, in_blocks]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpointing_changes_no_gradient(loss, use_reentrant, batch):
    features, weight, labels = batch()
    expected = torch.autograd.grad(loss(features, weight, labels), [features, weight])
    checkpoint(loss, features, weight, labels, use_reentrant=use_reentrant).backward()
    assert torch.equal(features.grad, expected[0]) and torch.equal(weight.grad, expected[1])


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_saved_is_fetched_once(loss, batch):
    counted = {"packed": 0, "unpacked": 0}

    def count(key):
        def hook(tensor):
            counted[key] += 1
            return tensor

        return hook

    with torch.autograd.graph.saved_tensors_hooks(count("packed"), count("unpacked")):
        loss(*batch()).backward()
    assert counted["packed"] == counted["unpacked"] > 0


@pytest.mark.parametrize("loss", [fused, in_blocks])
def test_losses_of_samples_may_be_weighted_in_place(loss, batch):
    features, weight, labels = batch()
    shares = torch.rand(len(labels), dtype=features.dtype)
    expected = torch.autograd.grad((loss(features, weight, labels, reduction="none") * shares).sum(), features)
    losses = loss(features, weight, labels, reduction="none")
    losses *= shares
    assert torch.equal(torch.autograd.grad(losses.sum(), features)[0], expected[0])


@pytest.mark.parametrize("loss", [by_logits, fused])  # in blocks: for memory's sake in place
def test_several_gradients_at_once_are_those_one_by_one(loss, batch):
    features, weight, labels = batch()
    value = loss(features, weight, labels)
    factors = torch.tensor([1.0, -2.0], dtype=value.dtype)
    together = torch.autograd.grad(value, [features, weight], factors, is_grads_batched=True, retain_graph=True)
    for factor, *gradients in zip(factors, *together, strict=True):
        alone = torch.autograd.grad(value, [features, weight], factor, retain_graph=True)
        for one, other in zip(gradients, alone, strict=True):
            torch.testing.assert_close(one, other)
