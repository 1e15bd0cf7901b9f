"""LSoftmaxLinear: an nn.Linear without bias whose target logit carries the margin."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lsoftmax import LSoftmaxLinear, lsoftmax_logits

# What it computes


@pytest.mark.parametrize("training", [True, False])
def test_with_labels_the_head_applies_the_margin(head, features, labels, training):
    expected = lsoftmax_logits(features, head.weight, labels, m=3, lam=torch.tensor(0.3))
    assert torch.equal(head.train(training)(features, labels), expected)


@pytest.mark.parametrize("training", [True, False])
def test_without_labels_the_head_is_the_plain_layer(head, features, training):
    assert torch.equal(head.train(training)(features), F.linear(features, head.weight))


@pytest.mark.parametrize("gradient", ["exact", "norms_live", "detached"])
def test_the_head_hands_its_kind_of_gradient_on(features, labels, gradient):
    head = LSoftmaxLinear(5, 4, m=3, gradient=gradient)
    cotangent = torch.randn(6, 4)
    expected = lsoftmax_logits(features, head.weight, labels, m=3, gradient=gradient)
    actual = head(features, labels)
    assert torch.equal(*(torch.autograd.grad(out, head.weight, cotangent)[0] for out in (actual, expected)))


@pytest.mark.parametrize("lam", [0.0, 0.1, 5.0, 1000.0, math.inf])
def test_a_lambda_set_later_is_the_one_that_counts(head, features, labels, lam):
    head.lam = lam
    expected = lsoftmax_logits(features, head.weight, labels, m=3, lam=lam)
    torch.testing.assert_close(head(features, labels), expected, rtol=1e-6, atol=1e-6)


def test_a_margin_set_later_is_the_one_that_counts(head, features, labels):
    head.m = 2
    expected = lsoftmax_logits(features, head.weight, labels, m=2, lam=torch.tensor(0.3))
    assert torch.equal(head(features, labels), expected)


@pytest.mark.parametrize("lam", [0.25, 5.0])  # exact in the float32 that holds them
def test_a_float64_head_is_a_float64_layer(lam, batch):
    features, weight, labels = batch()
    head = LSoftmaxLinear(5, 4, m=4, lam=lam).double()
    head.weight.data = weight.detach()
    expected = lsoftmax_logits(features, weight, labels, m=4, lam=lam)
    torch.testing.assert_close(head(features, labels), expected, rtol=1e-12, atol=1e-12)


def test_training_a_head_lowers_its_loss(head, features, labels):
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = F.cross_entropy(head(features, labels), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


# Its parameters and state


def test_the_weight_starts_he_normal():
    weight = LSoftmaxLinear(200, 500).weight.detach()
    deviation = math.sqrt(2 / 200)
    assert weight.mean().abs() < 5 * deviation / math.sqrt(weight.numel())
    assert weight.std().item() == pytest.approx(deviation, rel=0.02)  # 100,000 numbers: 0.2 % standard error


def test_the_weight_starts_normal_and_not_uniform():
    weight = LSoftmaxLinear(200, 500).weight.detach()
    assert (weight / weight.std()).pow(4).mean().item() == pytest.approx(3, abs=0.15)  # uniform: 1.8


def test_reset_parameters_draws_anew(head):
    before = head.weight.detach().clone()
    head.reset_parameters()
    assert not torch.equal(head.weight, before)


def test_the_weight_is_classes_by_features_and_the_only_parameter(head):
    assert [(name, tuple(p.shape)) for name, p in head.named_parameters()] == [("weight", (4, 5))]


def test_the_state_dict_has_only_the_weight(head):
    assert list(head.state_dict()) == ["weight"]


def test_a_plain_linear_layers_state_fits(head):
    head.load_state_dict(nn.Linear(5, 4, bias=False).state_dict())


def test_loading_a_state_leaves_lambda_alone(head):
    head.load_state_dict(LSoftmaxLinear(5, 4, lam=7.0).state_dict())
    assert head.lam.item() == pytest.approx(0.3)


def test_the_defaults_are_m_4_and_lambda_0():
    head = LSoftmaxLinear(5, 4)
    assert (head.m, float(head.lam), head.gradient) == (4, 0.0, "exact")


def test_m_and_the_sizes_show_in_the_representation(head):
    assert all(words in repr(head) for words in ("in_features=5", "num_classes=4", "m=3"))


def test_device_and_dtype_are_those_of_the_weight():
    head = LSoftmaxLinear(5, 4, lam=0.3, device="meta", dtype=torch.bfloat16)
    assert head.weight.is_meta and head.weight.dtype == torch.bfloat16
    assert nn.utils.skip_init(LSoftmaxLinear, 5, 4, lam=0.3, dtype=torch.float64).weight.dtype == torch.float64


def test_the_forward_pass_changes_no_state(head, features, labels):
    before = {name: tensor.clone() for name, tensor in (*head.named_parameters(), *head.named_buffers())}
    head(features, labels).sum().backward()
    after = dict((*head.named_parameters(), *head.named_buffers()))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
