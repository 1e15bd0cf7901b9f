"""Rotation, scale and shift that take five landmarks to the template: two estimators, as the field has two."""

from collections.abc import Callable

import numpy as np


def umeyama(points: np.ndarray, template: np.ndarray) -> np.ndarray:
    """(2, 3): the least squares fit of `points` (K, 2) to `template` (K, 2), never a reflection (Umeyama 1991).

    In the plane it has a closed form. ValueError if all points coincide, or any is not finite.
    """
    points, template = _checked(points), _checked(template)
    centre, target = points.mean(axis=0), template.mean(axis=0)
    p, q = points - centre, template - target
    square = (p * p).sum()
    if not square > 0:
        raise ValueError("all landmarks are one point")
    a, b = (p * q).sum() / square, (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum() / square
    linear = np.array([[a, -b], [b, a]])
    return np.column_stack([linear, target - linear @ centre])


def cp2tform(points: np.ndarray, template: np.ndarray) -> np.ndarray:
    """(2, 3): MATLAB's cp2tform(points, template, 'similarity'), which SphereFace used.

    It fits the template to the points and inverts, so errors count in the source image and the scale comes out larger;
    it fits a mirrored version too and takes it where it fits better: it can return a reflection.
    """
    points, template = _checked(points), _checked(template)
    plain = _inverted(umeyama(template, points))
    flip = np.array([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    mirrored = _inverted(umeyama(template, points * [-1.0, 1.0]))
    mirrored[:, :2] = mirrored[:, :2] @ flip[:, :2]
    return plain if _distance(plain, points, template) <= _distance(mirrored, points, template) else mirrored


ESTIMATORS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"umeyama": umeyama, "cp2tform": cp2tform}


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(K, 2) -> (K, 2)."""
    moved: np.ndarray = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


def rms_residual(matrix: np.ndarray, points: np.ndarray, template: np.ndarray) -> float:
    """How far, in pixels of the crop, the landmarks come to lie from the template."""
    return float(np.sqrt(((apply(matrix, points) - template) ** 2).sum(axis=1).mean()))


def _checked(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(f"landmarks must be finite and of shape (K, 2), got {points.shape}")
    return points


def _inverted(matrix: np.ndarray) -> np.ndarray:
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def _distance(matrix: np.ndarray, points: np.ndarray, template: np.ndarray) -> float:
    return float(np.linalg.norm(apply(matrix, points) - template))
