"""What holds for the pure function of every loss: precision, layout, wrong arguments."""

import inspect

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lsoftmax import losses

WITH_WEIGHT = {
    "hinge_loss": {"form": "one_vs_all"},
    "asoftmax_cross_entropy": {"m": 3, "lam": 0.5},
    "cosface_cross_entropy": {"s": 30.0, "m": 0.35},
    "arcface_cross_entropy": {"s": 64.0, "m": 0.5},
}
OF_PAIRS = {"contrastive_loss": {"margin": 2.0}, "triplet_loss": {"margin": 0.3}}
FUNCTIONS = WITH_WEIGHT | OF_PAIRS
REDUCING = [name for name in FUNCTIONS if "reduction" in inspect.signature(getattr(losses, name)).parameters]


def loss_of(name: str, features: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, **options) -> torch.Tensor:
    arguments = (features, weight, labels) if name in WITH_WEIGHT else (features, labels)
    return getattr(losses, name)(*arguments, **(FUNCTIONS[name] | options))


def gradients_of(name: str, features: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
    inputs = [features, weight] if name in WITH_WEIGHT else [features]
    return list(torch.autograd.grad(loss_of(name, features, weight, labels), inputs))


class NoArithmetic(TorchDispatchMode):
    """Fails on every floating-point operation."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        assert not (isinstance(result, torch.Tensor) and result.is_floating_point()), f"{func} was called"
        return result


def test_every_function_but_lsoftmaxs_is_listed_above():
    assert set(FUNCTIONS) == {name for name in losses.__all__ if name.endswith(("_loss", "_cross_entropy"))}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_arguments_give_a_float32_loss_near_the_exact_one(name, dtype, batch):
    features, weight, labels = batch(30, dtype=dtype)
    exact = loss_of(name, features.double(), weight.double(), labels)
    loss = loss_of(name, features, weight, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), exact, rtol=0.02, atol=0)  # a matmul's or a weight's rounding


@pytest.mark.parametrize("name", ["cosface_cross_entropy", "arcface_cross_entropy", *OF_PAIRS])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_cosines_and_distances_of_half_precision_are_taken_in_float32(name, dtype, batch):
    features, weight, labels = batch(30, dtype=dtype)
    expected = loss_of(name, features.float(), weight.float(), labels)
    torch.testing.assert_close(loss_of(name, features, weight, labels), expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_come_back_in_the_dtype_of_the_arguments(name, batch):
    grads = gradients_of(name, *batch(30, dtype=torch.bfloat16))
    assert all(grad.dtype == torch.bfloat16 and grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_stays_float64(name, batch):
    assert loss_of(name, *batch()).dtype == torch.float64


@pytest.mark.parametrize("name", ["cosface_cross_entropy", "arcface_cross_entropy", *OF_PAIRS])
def test_autocast_changes_no_cosine_and_no_distance(name, batch):
    features, weight, labels = batch(30, dtype=torch.float32)
    expected = loss_of(name, features, weight, labels)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss_of(name, features, weight, labels), expected)


@pytest.mark.parametrize("name", WITH_WEIGHT)
def test_under_autocast_half_precision_features_meet_a_float32_weight(name, batch):
    features, weight, labels = batch(30, dtype=torch.float32)
    expected = loss_of(name, features, weight, labels)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(name, features.bfloat16(), weight, labels)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(expected.item(), rel=0.03)
    assert torch.autograd.grad(loss, weight)[0].dtype == torch.float32


@pytest.mark.parametrize("name", FUNCTIONS)
def test_strided_arguments_give_the_same_loss_and_gradients(name, batch):
    features, weight, labels = batch(30)
    apart = [tensor.detach().T.contiguous().T.requires_grad_() for tensor in (features, weight)]
    strided = labels.repeat_interleave(2)[::2]
    torch.testing.assert_close(gradients_of(name, *apart, strided), gradients_of(name, features, weight, labels))


@pytest.mark.parametrize("name", REDUCING)
def test_the_reductions_are_mean_sum_and_none(name, batch):
    tensors = batch(30)
    each = loss_of(name, *tensors, reduction="none")
    assert each.shape == (30,)
    torch.testing.assert_close(loss_of(name, *tensors, reduction="sum"), each.sum())
    torch.testing.assert_close(loss_of(name, *tensors), each.mean())


@pytest.mark.parametrize("name", REDUCING)
def test_an_unknown_reduction_is_refused(name, batch):
    with pytest.raises(ValueError, match="reduction must be mean, sum or none, got 'average'"):
        loss_of(name, *batch(), reduction="average")


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(5,), (6, 5, 1), ()])
def test_features_that_are_no_matrix_are_refused_before_any_arithmetic(name, shape, batch):
    _, weight, labels = batch()
    features = torch.zeros(shape, dtype=torch.float64)
    with NoArithmetic(), pytest.raises(ValueError, match=r"features must be \(N, D\)"):
        loss_of(name, features, weight, labels)


@pytest.mark.parametrize("name", WITH_WEIGHT)
@pytest.mark.parametrize("shape", [(5,), (5, 4), (4, 5, 1)])
def test_a_weight_that_does_not_fit_is_refused_before_any_arithmetic(name, shape, batch):
    features, _, labels = batch()
    weight = torch.zeros(shape, dtype=torch.float64)
    with NoArithmetic(), pytest.raises(ValueError, match=r"weight \(C, D\)"):
        loss_of(name, features, weight, labels)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(5,), (6, 1), ()])
def test_labels_of_another_shape_are_refused_before_any_arithmetic(name, shape, batch):
    features, weight, _ = batch()
    labels = torch.zeros(shape, dtype=torch.int64)
    with NoArithmetic(), pytest.raises(ValueError, match=r"labels must be \(N,\) = \(6,\)"):
        loss_of(name, features, weight, labels)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.int32, torch.bool])
def test_labels_of_another_dtype_are_refused_before_any_arithmetic(name, dtype, batch):
    features, weight, labels = batch()
    labels = labels.to(dtype)
    with NoArithmetic(), pytest.raises(TypeError, match=f"labels must be int64, got {dtype}"):
        loss_of(name, features, weight, labels)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_features_that_are_not_floating_are_refused(name, batch):
    _, weight, labels = batch()
    with pytest.raises(TypeError, match="features must have a floating dtype, got torch.int64"):
        loss_of(name, torch.zeros(6, 5, dtype=torch.int64), weight, labels)


@pytest.mark.parametrize("name", WITH_WEIGHT)
def test_features_and_weight_of_different_dtypes_are_refused(name, batch):
    features, weight, labels = batch()
    with pytest.raises(TypeError, match="features and weight must share a dtype"):
        loss_of(name, features, weight.float(), labels)


@pytest.mark.parametrize("name", WITH_WEIGHT)
@pytest.mark.parametrize("label", [-1, 4, -100])
def test_a_label_out_of_range_is_refused_on_the_cpu(name, label, batch):
    features, weight, labels = batch()
    labels[2] = label
    with NoArithmetic(), pytest.raises(ValueError, match=f"labels must lie in 0..3, got {label}"):
        loss_of(name, features, weight, labels)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_option_given_by_position_is_refused(name, batch):
    features, weight, labels = batch()
    tensors = (features, weight, labels) if name in WITH_WEIGHT else (features, labels)
    with pytest.raises(TypeError, match="positional"):
        getattr(losses, name)(*tensors, 2)
