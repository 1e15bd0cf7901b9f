"""Arguments come back as they went in, in whatever layout, and wrong ones raise before any arithmetic."""

import math
import re
import warnings

import numpy as np
import pytest
import torch

from lsoftmax import lsoftmax_cross_entropy, lsoftmax_logits

GRADIENTS = ["exact", "norms_live", "detached"]


@pytest.fixture(params=[lsoftmax_logits, lsoftmax_cross_entropy])
def function(request):
    return request.param


@pytest.fixture(params=[1, 4])
def m(request) -> int:
    """m = 1 takes a path of its own: everything here holds there too."""
    return request.param


class NoArithmetic(torch.utils._python_dispatch.TorchDispatchMode):
    """Fails on every floating-point operation."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        assert not (isinstance(result, torch.Tensor) and result.is_floating_point()), f"{func} was called"
        return result


def assert_refused(function, error: type[Exception], *words: str, features=None, weight=None, labels=None, **options):
    """The error's message has all the words; no arithmetic was done."""
    features = torch.randn(6, 5) if features is None else features
    weight = torch.randn(4, 5) if weight is None else weight
    labels = torch.randint(4, (6,)) if labels is None else labels
    with NoArithmetic(), pytest.raises(error) as caught:
        function(features, weight, labels, **{"m": 4, **options})
    assert not (missing := [word for word in words if word not in str(caught.value)]), f"{caught.value}: no {missing}"


# Layout and ownership


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_no_argument_is_modified(function, m, gradient, dtype, batch):
    tensors = batch(dtype=dtype)
    before = [tensor.detach().clone() for tensor in tensors]
    function(*tensors, m=m, gradient=gradient).sum().backward()
    assert all(torch.equal(tensor, old) for tensor, old in zip(tensors, before, strict=True))


def test_a_lambda_tensor_is_not_modified(function, m, batch):
    lam = torch.tensor(5.0)
    function(*batch(), m=m, lam=lam).sum().backward()
    assert lam == 5.0


def test_the_incoming_gradient_is_not_modified(function, m, batch):
    options = {"reduction": "none"} if function is lsoftmax_cross_entropy else {}
    value = function(*batch(), m=m, **options)
    cotangent = torch.randn_like(value)
    before = cotangent.clone()
    value.backward(cotangent)
    assert torch.equal(cotangent, before)


def test_strided_inputs_give_the_same_values_and_gradients(function, m, batch, gradients):
    features, weight, labels = batch()
    expected = gradients(lambda x, w: function(x, w, labels, m=m), features, weight)
    strided_labels = labels.repeat_interleave(2)[::2]
    strided = [tensor.detach().repeat_interleave(2, dim=1)[:, ::2] for tensor in (features, weight)]
    assert not any(tensor.is_contiguous() for tensor in (*strided, strided_labels))
    actual = gradients(lambda x, w: function(x, w, strided_labels, m=m), *strided)
    torch.testing.assert_close(actual, expected, rtol=1e-14, atol=1e-14)


def test_transposed_inputs_give_the_same_values_and_gradients(function, m, batch, gradients):
    features, weight, labels = batch()
    expected = gradients(lambda x, w: function(x, w, labels, m=m), features, weight)
    transposed = [tensor.detach().T.contiguous().T for tensor in (features, weight)]
    actual = gradients(lambda x, w: function(x, w, labels, m=m), *transposed)
    torch.testing.assert_close(actual, expected, rtol=1e-14, atol=1e-14)


def test_expanded_features_work(function, m, batch):
    features, weight, labels = batch()
    row = features.detach()[:1]
    actual = function(row.expand(6, 5), weight, labels, m=m)
    torch.testing.assert_close(actual, function(row.repeat(6, 1), weight, labels, m=m))


# m


@pytest.mark.parametrize("margin", [0, -1, 2.0, True, "4", None])
def test_a_margin_that_is_no_positive_int_raises(function, margin):
    assert_refused(function, ValueError, "m must be", ">= 1", repr(margin), m=margin)


@pytest.mark.parametrize("name", ["features", "weight", "labels"])
@pytest.mark.parametrize("value", [[[0.0] * 5] * 6, np.zeros((6, 5), np.float32), np.zeros(6, np.int64)])
def test_what_is_no_tensor_raises_by_name(function, m, name, value):
    assert_refused(function, TypeError, f"{name} must be a torch.Tensor", type(value).__name__, m=m, **{name: value})


# lambda


@pytest.mark.parametrize("lam", [-1, -1e-9, math.nan, -math.inf])
def test_a_negative_or_nan_lambda_raises(function, m, lam):
    assert_refused(function, ValueError, "lam must be", ">= 0", repr(lam), m=m, lam=lam)


@pytest.mark.parametrize("number", [np.float32(5), np.int64(5)])
def test_a_number_of_numpys_is_told_what_to_be(function, m, number):
    assert_refused(function, ValueError, "lam must be a Python float or int >= 0", repr(number), m=m, lam=number)
    if isinstance(number, np.int64):
        assert_refused(function, ValueError, "m must be an integer >= 1", "give a Python int", m=number)


def test_a_label_that_says_none_is_told_that_there_is_no_such_label(function, m):
    assert_refused(function, ValueError, "labels must lie in", "-100; rows", m=m, labels=torch.full((6,), -100))


@pytest.mark.parametrize("lam", [-1.0, -1e-9, math.nan, -math.inf])
def test_a_tensor_on_the_cpu_is_read(function, m, lam):
    assert_refused(function, ValueError, "lam must be >= 0", m=m, lam=torch.tensor(lam))


def test_a_lambda_without_a_value_raises(function, m):
    assert_refused(function, ValueError, "lam has no value", "meta", m=m, lam=torch.tensor(5.0, device="meta"))


@pytest.mark.parametrize("shape", [(1,), (6,), (1, 1)])
def test_a_lambda_tensor_with_dimensions_raises(function, m, shape):
    assert_refused(function, ValueError, "lam must be", "0-dim", str(shape), m=m, lam=torch.ones(shape))


@pytest.mark.parametrize("lam", ["5", None, [5.0]])
def test_a_lambda_that_is_no_number_raises_by_name(function, m, lam):
    assert_refused(function, (TypeError, ValueError), "lam", repr(lam), m=m, lam=lam)


@pytest.mark.parametrize("lam", [0, 5, 0.0, math.inf, np.float64(5), torch.tensor(5), torch.tensor(math.inf)])
def test_every_number_from_0_to_infinity_is_a_lambda(function, m, lam, batch):
    assert function(*batch(), m=m, lam=lam).isfinite().all()


# gradient, reduction


@pytest.mark.parametrize("gradient", ["", "Exact", "norms", None, 1])
def test_an_unknown_gradient_raises(function, m, gradient):
    accepted = ("exact", "norms_live", "detached")
    assert_refused(function, ValueError, "gradient", *accepted, repr(gradient), m=m, gradient=gradient)


@pytest.mark.parametrize("reduction", ["average", "Mean", None, 1])
def test_an_unknown_reduction_raises(m, reduction):
    words = ("reduction", "mean", "sum", "none", repr(reduction))
    assert_refused(lsoftmax_cross_entropy, ValueError, *words, m=m, reduction=reduction)


# Shapes


@pytest.mark.parametrize("shape", [(5,), (6, 4), (6, 5, 1), (2, 3, 5), ()])
def test_features_that_do_not_fit_raise(function, m, shape):
    assert_refused(function, ValueError, "features", "(N, D)", str(shape), m=m, features=torch.randn(shape))


@pytest.mark.parametrize("shape", [(5,), (5, 4), (4, 5, 1), ()])
def test_a_weight_that_does_not_fit_raises(function, m, shape):
    assert_refused(function, ValueError, "weight", "(C, D)", str(shape), m=m, weight=torch.randn(shape))


@pytest.mark.parametrize("shape", [(5,), (7,), (6, 1), (1, 6), ()])
def test_labels_of_another_shape_raise(function, m, shape):
    assert_refused(
        function, ValueError, "labels", "(N,)", str(shape), m=m, labels=torch.zeros(shape, dtype=torch.int64)
    )


# Dtypes


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool, torch.float32])
def test_labels_of_another_dtype_raise(function, m, dtype):
    labels = torch.zeros(6, dtype=dtype)
    assert_refused(function, TypeError, "labels", "int64", str(dtype), m=m, labels=labels)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_features_that_are_not_floating_raise(function, m, dtype):
    features = torch.zeros(6, 5, dtype=dtype)
    assert_refused(function, TypeError, "features", "floating", str(dtype), m=m, features=features)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_a_weight_that_is_not_floating_raises(function, m, dtype):
    weight = torch.zeros(4, 5, dtype=dtype)
    assert_refused(function, TypeError, "weight", "floating", str(dtype), m=m, weight=weight)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_features_and_weight_of_different_dtypes_raise(function, m, dtype):
    assert_refused(
        function, TypeError, "weight", "features", str(dtype), "float32", m=m, weight=torch.randn(4, 5).to(dtype)
    )


@pytest.mark.parametrize("wide", ["features", "weight"])
def test_autocast_does_not_mix_float64_with_another_dtype(function, m, wide):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_refused(
            function,
            TypeError,
            *("features", "weight", "float64", "float32"),
            m=m,
            features=torch.randn(6, 5, dtype=torch.float64 if wide == "features" else torch.float32),
            weight=torch.randn(4, 5, dtype=torch.float64 if wide == "weight" else torch.float32),
        )


# Labels out of range


@pytest.mark.parametrize("label", [-1, 4, -100, 2**40])
def test_a_label_out_of_range_raises_on_the_cpu(function, m, label):
    labels = torch.tensor([0, 1, 2, 3, 0, label])
    assert_refused(function, ValueError, "labels", "0..3", str(label), m=m, labels=labels)


def test_fake_tensors_have_no_values_to_check():
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        features = torch.randn(6, 8, requires_grad=True)
        weight, labels = torch.randn(5, 8), torch.randint(5, (6,))
        lsoftmax_cross_entropy(features, weight, labels, m=4, lam=torch.tensor(1.0)).backward()
        assert features.grad.shape == (6, 8)


def test_a_trace_reads_neither_labels_nor_lambda(function):
    """The tracer warns of whatever number it is asked for: it would be a constant of the graph."""
    arguments = torch.randn(6, 5), torch.randn(4, 5), torch.randint(4, (6,)), torch.tensor(1.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.jit.trace(lambda x, w, y, lam: function(x, w, y, m=4, lam=lam), arguments)
    assert not [found for found in caught if re.search("Python (integer|number)", str(found.message))]
