"""psi against the golden values, its shape, and its gradient everywhere."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lsoftmax import psi, psi_of_cosine
from lsoftmax.margin import psi_and_slope, segment

MARGINS = range(1, 9)
# float64 values: |psi| reaches 15 and cos(m theta) of a rounded m theta is off by m theta eps, about 6e-15.
TOLERANCE = 1e-13

margins = st.integers(1, 12)
angles = st.floats(0.0, math.pi)
cosines = st.floats(-1.0, 1.0)


def points(golden, part, m, key) -> torch.Tensor:
    return torch.tensor([point[key] for point in golden("psi")[part] if point["m"] == m], dtype=torch.float64)


def slope_by_autograd(cosine: torch.Tensor, m: int) -> torch.Tensor:
    cosine = cosine.clone().requires_grad_()
    return torch.autograd.grad(psi_of_cosine(cosine, m).sum(), cosine)[0]


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


# Mathematics


@given(theta=angles, m=margins)
def test_psi_lies_below_the_cosine(theta, m):
    assert psi(scalar(theta), m) <= math.cos(theta) + TOLERANCE


@given(one=angles, other=angles, m=margins)
def test_psi_is_decreasing_on_0_to_pi(one, other, m):
    low, high = sorted((one, other))
    assert psi(scalar(high), m) <= psi(scalar(low), m) + TOLERANCE


@given(theta=angles, step=st.floats(0, 1e-3), m=margins)
def test_psi_is_continuous(theta, step, m):
    after = min(theta + step, math.pi)
    # |dpsi/dtheta| = m |sin(m theta)| <= m
    assert abs(psi(scalar(after), m) - psi(scalar(theta), m)) <= m * step + TOLERANCE


@given(one=cosines, other=cosines, m=margins)
def test_psi_of_cosine_is_increasing(one, other, m):
    low, high = sorted((one, other))
    assert psi_of_cosine(scalar(low), m) <= psi_of_cosine(scalar(high), m) + 10 * TOLERANCE


@given(theta=angles, m=margins)
def test_psi_of_cosine_is_psi_of_the_angle(theta, m):
    # A rounded cosine moves psi by m^2 eps at most.
    assert psi_of_cosine(scalar(math.cos(theta)), m).item() == pytest.approx(psi(scalar(theta), m).item(), abs=1e-12)


@given(cosine=cosines, m=margins)
def test_psi_and_slope_is_psi_of_cosine_and_its_gradient(cosine, m):
    cosine = scalar(cosine).reshape(1)
    value, slope = psi_and_slope(cosine, m)
    torch.testing.assert_close(value, psi_of_cosine(cosine, m), rtol=0, atol=1e-11)
    torch.testing.assert_close(slope, slope_by_autograd(cosine, m), rtol=0, atol=1e-10)


@given(cosine=cosines, m=margins)
def test_the_slope_lies_between_0_and_m_squared(cosine, m):
    _, slope = psi_and_slope(scalar(cosine), m)
    assert 0 <= slope <= m**2 * (1 + 1e-12)


@given(theta=angles, m=margins)
def test_psi_is_positive_only_below_pi_over_2m(theta, m):
    value = psi(scalar(theta), m).item()
    assert (value > 0) == (theta < math.pi / (2 * m)) or abs(value) < TOLERANCE


@pytest.mark.parametrize("m", [1, 2, 3, 4, 8, 50])
def test_psi_of_pi_is_1_minus_2m(m):
    assert psi(scalar(math.pi), m).item() == pytest.approx(1 - 2 * m, abs=1e-12)
    assert psi_of_cosine(scalar(-1.0), m).item() == 1 - 2 * m


@pytest.mark.parametrize("m", [1, 2, 3, 4, 8, 50])
def test_psi_of_0_is_1(m):
    assert psi(scalar(0.0), m).item() == 1
    assert psi_of_cosine(scalar(1.0), m).item() == 1


@pytest.mark.parametrize("m", [1, 2, 3, 4, 8, 50])
def test_psi_of_a_right_angle_is_1_minus_m(m):
    assert psi(scalar(math.pi / 2), m).item() == pytest.approx(1 - m, abs=1e-12)
    assert psi_of_cosine(scalar(0.0), m).item() == pytest.approx(1 - m, abs=1e-12)


def test_m1_is_the_cosine_to_the_last_bit():
    cosine = torch.linspace(-1, 1, 1001)
    assert torch.equal(psi_of_cosine(cosine, 1), cosine)
    assert torch.equal(psi_and_slope(cosine, 1)[0], cosine)


@pytest.mark.parametrize("m", MARGINS)
def test_gradcheck_of_psi_of_cosine_away_from_the_boundaries(m):
    middles = torch.cos((torch.arange(m, dtype=torch.float64) + 0.4) * math.pi / m).requires_grad_()
    assert torch.autograd.gradcheck(lambda cosine: psi_of_cosine(cosine, m), (middles,))


@pytest.mark.parametrize("m", range(2, 9))
def test_gradcheck_of_psi_of_cosine_at_the_boundaries(m):
    boundaries = torch.cos(torch.arange(1, m, dtype=torch.float64) * math.pi / m).requires_grad_()
    # The second derivative jumps there: a central difference of step h is off by h m^2 / sin^2(pi / m).
    assert torch.autograd.gradcheck(lambda cosine: psi_of_cosine(cosine, m), (boundaries,), eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 8, 50])
@pytest.mark.parametrize("cosine", [-1.0, 1.0])
def test_the_gradient_at_parallel_and_opposite_is_m_squared(m, cosine):
    assert slope_by_autograd(scalar(cosine), m).item() == pytest.approx(m**2, rel=1e-12)
    assert psi_and_slope(scalar(cosine), m)[1].item() == pytest.approx(m**2, rel=1e-12)


@pytest.mark.parametrize("m", MARGINS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_cosine_that_rounding_pushed_outside_counts_as_the_end(m, dtype):
    one = torch.ones((), dtype=dtype)
    outside = torch.stack((torch.nextafter(one, 2 * one), torch.nextafter(-one, -2 * one), 1.5 * one))
    assert torch.equal(psi_of_cosine(outside, m), torch.tensor([1, 1 - 2 * m, 1], dtype=dtype))


@pytest.mark.parametrize("m", MARGINS)
def test_a_cosine_outside_carries_no_gradient(m):
    assert torch.equal(slope_by_autograd(torch.tensor([-1.5, 1.5]), m), torch.zeros(2))


@pytest.mark.parametrize("m", MARGINS)
def test_the_gradient_of_psi_in_the_angle_is_finite_on_all_of_0_to_pi(m, reference_psi):
    theta = torch.linspace(0, math.pi, 181, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(psi(theta, m).sum(), theta)
    torch.testing.assert_close(slope, -torch.from_numpy(reference_psi(theta.detach(), m)[1]), rtol=0, atol=1e-11)


@pytest.mark.parametrize("m", [20, 50, 100])
def test_psi_of_cosine_holds_for_a_large_margin(m, reference_psi):
    theta = torch.linspace(0, math.pi, 1001, dtype=torch.float64)
    expected = torch.from_numpy(reference_psi(theta, m)[0])
    torch.testing.assert_close(psi_of_cosine(theta.cos(), m), expected, rtol=0, atol=1e-14 * m**2)


@pytest.mark.parametrize("m", range(2, 9))
def test_either_neighbour_is_right_on_a_boundary(m):
    inside = torch.cos(torch.arange(1, m, dtype=torch.float64) * math.pi / m)
    values = [psi_and_slope(inside + shift, m) for shift in (-1e-9, 0.0, 1e-9)]
    for value, slope in values:
        # psi moves by the square of the shift, its slope by the shift times at most m^4.
        torch.testing.assert_close(value, 1 - 2 * torch.arange(1, m, dtype=torch.float64), rtol=0, atol=1e-12)
        assert slope.max() < 1e-9 * m**4


@pytest.mark.parametrize("m", MARGINS)
def test_the_segment_counts_whole_steps_of_pi_over_m(m):
    middles = torch.cos((torch.arange(m) + 0.5) * math.pi / m)
    assert segment(middles, m).tolist() == list(range(m))


# Golden values: the arccos definition in 60 digits


@pytest.mark.parametrize("m", MARGINS)
def test_psi_equals_the_golden_values(m, golden):
    value = psi(points(golden, "by_theta", m, "theta"), m)
    torch.testing.assert_close(value, points(golden, "by_theta", m, "psi"), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("m", MARGINS)
def test_the_angular_slope_equals_the_golden_values(m, golden):
    theta = points(golden, "by_theta", m, "theta").requires_grad_()
    (slope,) = torch.autograd.grad(psi(theta, m).sum(), theta)
    torch.testing.assert_close(slope, points(golden, "by_theta", m, "dpsi_dtheta"), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("m", MARGINS)
def test_psi_of_cosine_equals_the_golden_values(m, golden):
    value = psi_of_cosine(points(golden, "by_cosine", m, "cos"), m)
    torch.testing.assert_close(value, points(golden, "by_cosine", m, "psi"), rtol=0, atol=1e-12)


@pytest.mark.parametrize("m", MARGINS)
def test_both_slopes_in_the_cosine_equal_the_golden_values(m, golden):
    cosine, expected = (points(golden, "by_cosine", m, key) for key in ("cos", "dpsi_dcos"))
    torch.testing.assert_close(psi_and_slope(cosine, m)[1], expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(slope_by_autograd(cosine, m), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("m", MARGINS)
def test_psi_equals_the_golden_values_at_the_segment_boundaries(m, golden):
    expected = points(golden, "segment_boundaries", m, "psi")
    by_angle = psi(points(golden, "segment_boundaries", m, "theta"), m)
    by_cosine = psi_of_cosine(points(golden, "segment_boundaries", m, "cos"), m)
    torch.testing.assert_close(by_angle, expected, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(by_cosine, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("m", MARGINS)
def test_the_slope_equals_the_golden_values_at_the_segment_boundaries(m, golden):
    cosine, expected = (points(golden, "segment_boundaries", m, key) for key in ("cos", "dpsi_dcos"))
    torch.testing.assert_close(psi_and_slope(cosine, m)[1], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("m", MARGINS)
def test_psi_of_cosine_in_float32_is_near_the_golden_values(m, golden):
    cosine = points(golden, "by_cosine", m, "cos")
    # Rounding the cosine alone moves psi by up to 6e-8 m^2; measured in all, on a fine grid: 6.6e-8 m^2.
    error = (psi_of_cosine(cosine.float(), m).double() - points(golden, "by_cosine", m, "psi")).abs().max()
    assert error < 2e-7 * m**2


# Types, shapes, errors


@pytest.mark.parametrize("function", [psi, psi_of_cosine])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_result_has_the_dtype_and_shape_of_the_argument(function, dtype):
    value = function(torch.rand(2, 3, 4).to(dtype), 3)
    assert value.dtype == dtype and value.shape == (2, 3, 4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("function, low, high", [(psi, 0, 3), (psi_of_cosine, -1, 1)])
def test_a_half_precision_argument_is_computed_in_float32(function, low, high, dtype):
    argument = torch.linspace(low, high, 201).to(dtype)
    for m in MARGINS:  # rounded once, at the end
        torch.testing.assert_close(function(argument, m), function(argument.float(), m).to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("function", [psi, psi_of_cosine])
def test_whole_numbers_raise_and_are_not_rounded(function):
    with pytest.raises(TypeError, match="must have a floating dtype, got torch.int64"):
        function(torch.tensor([0, 1]), 4)


@pytest.mark.parametrize("function", [psi, psi_of_cosine])
@pytest.mark.parametrize("m", [0, -1, 2.0, True, "4", None, 2.5])
def test_a_margin_that_is_no_positive_int_raises(function, m):
    with pytest.raises(ValueError, match=r"m must be an integer >= 1, got " + repr(m).replace(".", r"\.")):
        function(torch.zeros(3), m)


@pytest.mark.parametrize("function", [psi, psi_of_cosine, psi_and_slope])
def test_the_argument_is_left_as_it_was(function):
    argument = torch.rand(10)
    before = argument.clone()
    function(argument, 4)
    assert torch.equal(argument, before)
