"""LSoftmaxLinear: an nn.Linear without bias whose lambda survives everything that happens to a module."""

import copy
import io
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lsoftmax import LSoftmaxLinear, lsoftmax_logits


@pytest.fixture
def head() -> LSoftmaxLinear:
    return LSoftmaxLinear(5, 4, m=3, lam=0.3)


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(6, 5)


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.randint(4, (6,))


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


# m and lambda as attributes


def test_lambda_is_a_0_dim_tensor_in_a_buffer_that_setting_keeps(head):
    before = dict(head.named_buffers())["_lam"]
    head.lam = 5.0
    assert dict(head.named_buffers())["_lam"] is before and head.lam.ndim == 0 and head.lam == 5.0


def test_lambda_may_be_set_from_a_tensor(head):
    head.lam = torch.tensor(2.5, dtype=torch.float64)
    assert float(head.lam) == 2.5 and not head.lam.requires_grad


def test_a_lambda_that_was_read_keeps_its_value(head):
    before = head.lam
    head.lam = 7.0
    assert before.item() == 0.3


def test_a_lambda_that_is_lowered_by_hand_does_not_pass_zero(head):
    head.lam = 1.0
    head.lam -= 0.75
    assert head.lam.item() == 0.25
    with pytest.raises(ValueError, match=r"^lam must be >= 0 \(inf means no margin\), got -0.5"):
        head.lam -= 0.75
    assert head.lam.item() == 0.25


def test_lambda_may_be_set_from_itself(head):
    head.lam = head.lam
    assert head.lam.item() == 0.3


def test_a_lambda_tensor_that_was_set_is_copied(head):
    value = torch.tensor(2.5)
    head.lam = value
    value.fill_(7.0)
    assert float(head.lam) == 2.5


def test_a_lambda_with_a_graph_leaves_it_behind(head, features, labels):
    for lam in (torch.tensor(2.5, requires_grad=True), torch.tensor(1.5, requires_grad=True) * 2, 4.0):
        head.lam = lam
        assert not head.lam.requires_grad and head.lam == lam
        head(features, labels).sum().backward()


@pytest.mark.parametrize("lam", [-1, -1e-3, math.nan, torch.ones(1)])
def test_a_lambda_out_of_range_is_refused_and_the_old_one_stays(head, lam):
    with pytest.raises(ValueError, match="lam must be"):
        head.lam = lam
    assert head.lam.item() == pytest.approx(0.3)


@pytest.mark.parametrize("lam", [-1, math.nan])
def test_a_lambda_out_of_range_is_refused_at_construction(lam):
    with pytest.raises(ValueError, match="lam must be"):
        LSoftmaxLinear(5, 4, lam=lam)


@pytest.mark.parametrize("m", [0, -1, 2.0, True, "4"])
def test_a_margin_out_of_range_is_refused_and_the_old_one_stays(head, m):
    with pytest.raises(ValueError, match="m must be an integer >= 1"):
        head.m = m
    assert head.m == 3


@pytest.mark.parametrize("m", [0, -1, 2.0, True, "4"])
def test_a_margin_out_of_range_is_refused_at_construction(m):
    with pytest.raises(ValueError, match="m must be an integer >= 1"):
        LSoftmaxLinear(5, 4, m=m)


def test_an_unknown_gradient_is_refused_at_construction():
    with pytest.raises(ValueError, match="gradient must be exact, norms_live or detached, got 'none'"):
        LSoftmaxLinear(5, 4, gradient="none")


# What happens to modules


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("lam", [0.3, 1000.0, 123456.0, math.inf])
def test_lambda_survives_a_change_of_dtype(head, dtype, lam):
    head.lam = lam
    before = head.lam.clone()
    assert head.to(dtype).weight.dtype == dtype
    assert head.lam.double() == before.double()  # 123,456 is beyond float16, 0.3 would be rounded


@pytest.mark.parametrize("method", ["half", "bfloat16", "double", "float", "cpu", "share_memory"])
def test_lambda_can_still_be_set_after_a_conversion(head, method, features, labels):
    getattr(head, method)()
    head.lam = 5.0
    dtype = head.weight.dtype
    expected = lsoftmax_logits(features.to(dtype), head.weight, labels, m=3, lam=5.0)
    torch.testing.assert_close(head(features.to(dtype), labels), expected)


def test_lambda_survives_the_conversion_of_an_enclosing_module(head):
    nn.Sequential(nn.Linear(5, 5), head).bfloat16()
    assert head.lam.item() == pytest.approx(0.3, rel=1e-7)


def test_a_deep_copy_has_a_lambda_and_a_margin_of_its_own(head):
    other = copy.deepcopy(head)
    head.lam, head.m = 9.0, 8
    assert (other.lam.item(), other.m) == (pytest.approx(0.3), 3)


def test_a_pickled_head_computes_the_same(head, features, labels):
    other = pickle.loads(pickle.dumps(head))
    assert torch.equal(other(features, labels), head(features, labels))
    assert (other.m, other.lam.item()) == (3, pytest.approx(0.3))


def test_a_saved_and_loaded_head_computes_the_same(head, features, labels):
    file = io.BytesIO()
    torch.save(head, file)
    file.seek(0)
    other = torch.load(file, weights_only=False)
    assert torch.equal(other(features, labels), head(features, labels))


def test_a_head_made_without_memory_can_be_materialised():
    with torch.device("meta"):
        head = LSoftmaxLinear(5, 4, lam=0.3)
    head.to_empty(device="cpu").reset_parameters()
    head.lam = 5.0
    assert head(torch.randn(2, 5), torch.tensor([0, 1])).isfinite().all()


@pytest.mark.parametrize("later", [None, 5.0, torch.tensor(5.0)])
def test_lambda_is_there_when_a_head_made_without_memory_is_materialised(later):
    with torch.device("meta"):
        head = LSoftmaxLinear(5, 4, lam=7.0)
    if later is not None:
        head.lam = later
    head = copy.deepcopy(head).half().to_empty(device="cpu")
    assert float(head.lam) == (7.0 if later is None else 5.0)


@pytest.mark.parametrize("later", [None, 5.0])
def test_weights_that_are_assigned_to_a_head_made_without_memory_bring_lambda_along(head, features, labels, later):
    with torch.device("meta"):
        other = LSoftmaxLinear(5, 4, m=3, lam=0.3)
    other.load_state_dict(head.state_dict(), assign=True)
    if later is not None:
        head.lam = other.lam = later
    assert torch.equal(other(features, labels), head(features, labels)) and torch.equal(other.lam, head.lam)


def test_a_head_whose_weight_is_no_parameter_keeps_its_lambda(head, features, labels):
    weight = head.weight.detach()
    del head.weight
    head.register_buffer("weight", weight)
    assert head.double().lam.item() == 0.3 and head(features.double(), labels).dtype == torch.float64


def test_device_and_dtype_are_those_of_the_weight():
    head = LSoftmaxLinear(5, 4, lam=0.3, device="meta", dtype=torch.bfloat16)
    assert head.weight.is_meta and head.weight.dtype == torch.bfloat16
    assert nn.utils.skip_init(LSoftmaxLinear, 5, 4, lam=0.3, dtype=torch.float64).weight.dtype == torch.float64


def test_lambda_survives_a_loss_of_memory(head):
    assert head.to("meta").to_empty(device="cpu").lam.item() == 0.3


def test_a_failed_conversion_leaves_lambda_where_it_was(head, features, labels):
    def refuse(tensor):
        raise RuntimeError("no such device")

    with pytest.raises(RuntimeError, match="no such device"):
        head._apply(refuse)
    assert head.lam.item() == 0.3 and head(features, labels).isfinite().all()


def test_the_forward_pass_changes_no_state(head, features, labels):
    before = {name: tensor.clone() for name, tensor in (*head.named_parameters(), *head.named_buffers())}
    head(features, labels).sum().backward()
    after = dict((*head.named_parameters(), *head.named_buffers()))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
