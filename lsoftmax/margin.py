"""psi, the angular function of L-Softmax: the mathematics, nothing else.

    psi(theta) = (-1)^k cos(m theta) - 2k,    theta in [k pi/m, (k+1) pi/m],  k = 0..m-1        (paper, Eq. 6)

It falls from psi(0) = 1 to psi(pi) = 1 - 2m, lies below cos(theta), and psi(theta) = cos(theta) for m = 1. With
c = cos(theta), cos(m theta) is the Chebyshev polynomial T_m(c) (Eq. 7), so no angle is needed: acos has an infinite
derivative at c = -1 and c = 1, where the derivative of psi is finite (m^2).
"""

import math

import torch
from torch import Tensor

from lsoftmax.checks import check_m


def psi(theta: Tensor, m: int) -> Tensor:
    """psi(theta) for angles in radians in [0, pi], any shape (Eq. 6). ValueError if m is no int >= 1."""
    check_m(m)
    angle = theta.to(compute_dtype(theta.dtype))
    k = (angle.detach() * (m / math.pi)).floor().clamp(0, m - 1)
    return (_sign(k) * torch.cos(m * angle) - 2 * k).to(theta.dtype)


def psi_of_cosine(cosine: Tensor, m: int) -> Tensor:
    """psi(theta) from cos(theta), any shape: no acos, and a gradient that is finite on all of [-1, 1].

    Cosines that rounding has pushed outside [-1, 1] are clamped. ValueError if m is no int >= 1.
    """
    check_m(m)
    c = cosine.to(compute_dtype(cosine.dtype)).clamp(-1.0, 1.0)
    k = segment(c.detach(), m)
    previous, chebyshev = torch.ones_like(c), c  # T_0, T_1
    for _ in range(m - 1):
        previous, chebyshev = chebyshev, 2 * c * chebyshev - previous
    return (_sign(k) * chebyshev - 2 * k).to(cosine.dtype)


def psi_and_slope(cosine: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """psi and dpsi/dcos(theta) = m |U_{m-1}(c)| for cosines in [-1, 1], any shape. Builds no graph of its own.

    The slope is m^2 at c = -1 and c = 1, and 0 at every inner segment boundary.
    """
    c2 = 2 * cosine
    t_previous, t = torch.ones_like(cosine), cosine  # first kind: T_{n-1}, T_n
    u_previous, u = torch.zeros_like(cosine), t_previous  # second kind: U_{n-2}, U_{n-1}
    for _ in range(m - 1):
        t_previous, t = t, c2 * t - t_previous
        u_previous, u = u, c2 * u - u_previous
    k = segment(cosine, m)
    return _sign(k) * t - 2 * k, m * u.abs()


def segment(cosine: Tensor, m: int) -> Tensor:
    """k of Eq. 6, as a tensor of cosine's dtype: how many of cos(pi/m) .. cos((m-1) pi/m) are >= the cosine.

    Compared with numbers and not with a tensor of bounds, which would have to travel to the device. On a boundary
    either neighbour is right: psi and its first derivative agree from both sides.
    """
    k = torch.zeros_like(cosine)
    for j in range(1, m):
        k = k + (cosine <= math.cos(j * math.pi / m))
    return k


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the margin's arithmetic: float32, or float64 for float64."""
    return torch.promote_types(dtype, torch.float32)


def _sign(k: Tensor) -> Tensor:
    """(-1)^k for whole numbers k in a floating dtype."""
    return 1 - 2 * (k % 2)
