"""psi, the angular function of L-Softmax: the mathematics, nothing else.

    psi(theta) = (-1)^k cos(m theta) - 2k,    theta in [k pi/m, (k+1) pi/m],  k = 0..m-1        (paper, Eq. 6)

It falls from psi(0) = 1 to psi(pi) = 1 - 2m, lies below cos(theta), and psi(theta) = cos(theta) for m = 1. With
c = cos(theta), cos(m theta) is the Chebyshev polynomial T_m(c) (Eq. 7), so nothing goes through acos, whose derivative
is infinite at c = -1 and c = 1, where that of psi is finite (m^2): acos only finds the segment.
"""

import math

import torch
from torch import Tensor

from lsoftmax.checks import check_floating, check_m


def psi(theta: Tensor, m: int) -> Tensor:
    """psi(theta) for angles in radians in [0, pi], any shape (Eq. 6).

    ValueError if m is no int >= 1, TypeError if theta is not of a floating dtype.
    """
    check_m(m)
    check_floating("theta", theta)
    angle = theta.to(compute_dtype(theta.dtype))
    k = (angle.detach() * (m / math.pi)).floor().clamp(0, m - 1)
    return (_sign(k) * torch.cos(m * angle) - 2 * k).to(theta.dtype)


def psi_of_cosine(cosine: Tensor, m: int) -> Tensor:
    """psi(theta) from cos(theta), any shape: no gradient through acos, so it is finite on all of [-1, 1].

    Cosines that rounding has pushed outside [-1, 1] are clamped. ValueError if m is no int >= 1, TypeError if
    cosine is not of a floating dtype.
    """
    check_m(m)
    check_floating("cosine", cosine)
    c = within_range(cosine.to(compute_dtype(cosine.dtype)))
    k = segment(c.detach(), m).clamp_(max=m - 1)  # at pi m would give the same psi, but its slope the other sign
    previous, chebyshev = torch.ones_like(c), c  # T_0, T_1
    for _ in range(m - 1):
        previous, chebyshev = chebyshev, 2 * c * chebyshev - previous
    return (_sign(k) * chebyshev - 2 * k).to(cosine.dtype)


def psi_and_slope(cosine: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """psi and dpsi/dcos(theta) = m |U_{m-1}(c)| for cosines in [-1, 1], any shape. Builds no graph of its own.

    The slope is m^2 at c = -1 and c = 1, and 0 at every inner segment boundary.
    """
    return psi_value(cosine, m), torch.special.chebyshev_polynomial_u(cosine, m - 1).abs_().mul_(m)


def psi_value(cosine: Tensor, m: int) -> Tensor:
    """psi alone, for cosines in [-1, 1], any shape. Builds no graph of its own."""
    k = segment(cosine, m)
    chebyshev = torch.special.chebyshev_polynomial_t(cosine, m)
    # (-1)^k T - 2k in few operations: a call for ten classes costs what its operations cost, not what they compute.
    return torch.addcmul(chebyshev, chebyshev, k.remainder(2), value=-2).sub_(k, alpha=2)


def within_range(cosine: Tensor) -> Tensor:
    """cosine, any shape, clamped to [-1, 1]: the gradient is 0 outside, and passes unchanged inside, ends included.

    clamp's own gradient at the ends is 1 before torch 2.14, and 0 from there on.
    """
    return torch.where(cosine.detach().abs() <= 1, cosine, cosine.detach().clamp(-1.0, 1.0))


def segment(cosine: Tensor, m: int) -> Tensor:
    """k of Eq. 6, as a tensor of cosine's dtype: in which of the m segments of [0, pi] the angle lies.

    On a boundary either neighbour is right, so the rounding of acos does no harm: psi and its first derivative agree
    from both sides. At pi itself it is m - 1 or m, which give the same psi.
    """
    return (cosine.acos() * (m / math.pi)).floor_()


def compute_dtype(*dtypes: torch.dtype) -> torch.dtype:
    """The dtype of the margin's arithmetic: float64 if one of these floating dtypes is, else float32."""
    return torch.float64 if torch.float64 in dtypes else torch.float32


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """`tensor.to(dtype)`, without the call where it has that dtype: with ten classes a call costs what it computes."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def _sign(k: Tensor) -> Tensor:
    """(-1)^k for whole numbers k in a floating dtype."""
    return 1 - 2 * (k % 2)
