"""Lambda and m as a module holds them: settable, checked, and alive after everything that happens to a module."""

import copy
import io
import math
import pickle

import pytest
import torch
from torch import nn

from lsoftmax import LSoftmaxLinear, lsoftmax_logits

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


def test_lambda_survives_a_loss_of_memory(head):
    assert head.to("meta").to_empty(device="cpu").lam.item() == 0.3


def test_a_failed_conversion_leaves_lambda_where_it_was(head, features, labels):
    def refuse(tensor):
        raise RuntimeError("no such device")

    with pytest.raises(RuntimeError, match="no such device"):
        head._apply(refuse)
    assert head.lam.item() == 0.3 and head(features, labels).isfinite().all()


def test_lambda_can_be_set_after_a_first_look_in_inference_mode():
    with torch.device("meta"):
        head = LSoftmaxLinear(8, 5, m=4, lam=3.0)
    head.load_state_dict(LSoftmaxLinear(8, 5, m=4).state_dict(), assign=True)
    with torch.inference_mode():
        head(torch.randn(6, 8), torch.randint(5, (6,)))
    head.lam = 2.0
    assert head.lam == 2.0
