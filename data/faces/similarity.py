"""Rotation, scale and shift that take five landmarks to the template: two estimators, as the field has two."""

from collections.abc import Callable

import numpy as np


def umeyama(points: np.ndarray, template: np.ndarray) -> np.ndarray:
    """(2, 3): the least squares fit of `points` (K, 2) to `template` (K, 2), never a reflection (Umeyama 1991).

    In the plane it has a closed form: with x + iy for (x, y), a similarity is p -> c p + t. ValueError if all points
    coincide, or any is not finite.
    """
    p, q = _complex(points), _complex(template)
    centre, target = p.mean(), q.mean()
    p = p - centre
    square = np.vdot(p, p).real
    if not square > 0:
        raise ValueError("all landmarks are one point")
    c = np.vdot(p, q - target) / square
    t = target - c * centre
    return np.array([[c.real, -c.imag, t.real], [c.imag, c.real, t.imag]])


def cp2tform(points: np.ndarray, template: np.ndarray) -> np.ndarray:
    """(2, 3): MATLAB's cp2tform(points, template, 'similarity'), which SphereFace used.

    It fits the template to the points and inverts, so errors count in the source image and the scale comes out larger;
    it fits a mirrored version too and takes it where it fits better: it can return a reflection.
    """
    plain = _inverted(umeyama(template, points))
    mirrored = _inverted(umeyama(template, points * [-1.0, 1.0]))
    mirrored[:, 0] *= -1.0
    return plain if _distance(plain, points, template) <= _distance(mirrored, points, template) else mirrored


ESTIMATORS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"umeyama": umeyama, "cp2tform": cp2tform}


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(K, 2) -> (K, 2)."""
    moved: np.ndarray = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


def rms_residual(matrix: np.ndarray, points: np.ndarray, template: np.ndarray) -> float:
    """How far, in pixels of the crop, the landmarks come to lie from the template."""
    return float(np.sqrt(((apply(matrix, points) - template) ** 2).sum(axis=1).mean()))


def _complex(points: np.ndarray) -> np.ndarray:
    """(K, 2) -> (K,)"""
    points = np.ascontiguousarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(f"landmarks must be finite and of shape (K, 2), got {points.shape}")
    numbers: np.ndarray = points.view(np.complex128)[:, 0]
    return numbers


def _inverted(matrix: np.ndarray) -> np.ndarray:
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def _distance(matrix: np.ndarray, points: np.ndarray, template: np.ndarray) -> float:
    return float(np.linalg.norm(apply(matrix, points) - template))
