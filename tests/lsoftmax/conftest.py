"""An independent L-Softmax in numpy float64, the golden files, and the same random numbers for every test.

The reference follows the paper's text: angles, cos(m theta), k by floor. No polynomial, no torch, nothing imported
from the library. Legend: N batch, D features, C classes.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import Tensor

# The first call of torch.autograd takes longer than hypothesis' deadline; the same examples on every run.
settings.register_profile("lsoftmax", deadline=None, derandomize=True, database=None)
settings.load_profile("lsoftmax")

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Any]:
    """golden("psi") -> the content of psi_golden.json."""
    return lambda name: json.loads((GOLDEN / f"{name}_golden.json").read_text())


class Reference(NamedTuple):
    """All float64 numpy arrays; the gradients are those of the mean loss."""

    logits: np.ndarray  # (N, C)
    loss: np.ndarray  # (N,)
    grad_features: np.ndarray  # (N, D)
    grad_weight: np.ndarray  # (C, D)
    target_grad_features: np.ndarray  # (N, D): of the target logit alone
    target_grad_weight: np.ndarray  # (N, D)


@pytest.fixture(scope="session")
def reference() -> Callable[..., Reference]:
    """reference(features, weight, labels, m=, lam=, gradient=) from tensors of any dtype."""
    return _reference


@pytest.fixture(scope="session")
def reference_psi() -> Callable[[Any, int], tuple[np.ndarray, np.ndarray]]:
    """(theta, m) -> psi and -dpsi/dtheta, straight from Eq. 6."""
    return _psi


@pytest.fixture
def batch() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """batch(N, D, C, dtype) -> features and weight that ask for gradients, labels."""

    def make(n: int = 6, d: int = 5, c: int = 4, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
        features = torch.randn(n, d, dtype=torch.float64).to(dtype).requires_grad_()
        weight = torch.randn(c, d, dtype=torch.float64).to(dtype).requires_grad_()
        return features, weight, torch.randint(c, (n,))

    return make


@pytest.fixture(scope="session")
def gradients() -> Callable[..., tuple[Tensor, ...]]:
    """gradients(function, features, weight) -> value, d/dfeatures, d/dweight of function(features, weight)."""

    def take(function: Callable[..., Tensor], features: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        features, weight = features.detach().requires_grad_(), weight.detach().requires_grad_()
        value = function(features, weight)
        return value.detach(), *torch.autograd.grad(value.sum(), (features, weight))

    return take


def _psi(theta: Any, m: int) -> tuple[np.ndarray, np.ndarray]:
    theta = np.asarray(theta, dtype=np.float64)
    k = np.clip(np.floor(theta * m / np.pi), 0, m - 1)
    return (-1) ** k * np.cos(m * theta) - 2 * k, m * np.abs(np.sin(m * theta))


def _unit(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) -> unit rows and norms (N, 1); the unit row of a zero row is zero."""
    norm = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0), norm


def _angle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Kahan's angle between unit rows: arccos would lose half the digits near 0 and pi. Zero rows: pi/2."""
    difference, total = np.linalg.norm(u - v, axis=1), np.linalg.norm(u + v, axis=1)
    return 2 * np.arctan2(difference, total)[:, None]


def _reference(
    features: Any, weight: Any, labels: Any, *, m: int, lam: float = 0.0, gradient: str = "exact"
) -> Reference:
    x, all_w = (np.asarray(t.detach().double() if isinstance(t, Tensor) else t, float) for t in (features, weight))
    y, rows = np.asarray(labels), np.arange(len(x))
    w = all_w[y]
    (v, norm_x), (u, norm_w) = _unit(x), _unit(w)
    theta = _angle(u, v)
    psi, fall = _psi(theta, m)
    difference = psi - np.cos(theta)

    # The unit directions in which each of the two turns straight towards the other; none where they are parallel.
    cosine = (u * v).sum(axis=1, keepdims=True)
    x_turns, w_turns = _unit(u - cosine * v)[0], _unit(v - cosine * u)[0]
    if gradient == "exact":  # df/dx = |w| (psi v - dpsi/dtheta * turn)
        margin_x, margin_w = norm_w * (psi * v + fall * x_turns), norm_x * (psi * u + fall * w_turns)
        zero = (norm_x == 0) | (norm_w == 0)  # cos := 0, unit vector := 0: what is left of g w + ... is g w
        margin_x, margin_w = np.where(zero, fall * w, margin_x), np.where(zero, fall * x, margin_w)
    elif gradient == "norms_live":
        margin_x, margin_w = w + difference * norm_w * v, x + difference * norm_x * u
    else:
        margin_x, margin_w = w, x
    margin = norm_x * norm_w * psi

    share, plain = (0.0, 1.0) if math.isinf(lam) else (1 / (1 + lam), lam / (1 + lam))
    logits = x @ all_w.T
    logits[rows, y] = plain * logits[rows, y] + share * margin[:, 0]
    target_x, target_w = plain * w + share * margin_x, plain * x + share * margin_w

    shifted = logits - logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(shifted).sum(axis=1))
    others = np.exp(shifted - total[:, None])
    others[rows, y] = 0
    on_target = -others.sum(axis=1, keepdims=True)  # p_y - 1
    grad_features = (others @ all_w + on_target * target_x) / len(x)
    grad_weight = others.T @ x / len(x)
    np.add.at(grad_weight, y, on_target * target_w / len(x))
    return Reference(logits, total - shifted[rows, y], grad_features, grad_weight, target_x, target_w)


@pytest.fixture
def head() -> Any:
    """The layer that the tests of heads and of what holds lambda share, and a batch for it."""
    from lsoftmax import LSoftmaxLinear  # here: the reference above has nothing of the library

    return LSoftmaxLinear(5, 4, m=3, lam=0.3)


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(6, 5)


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.randint(4, (6,))
