"""Lists of five landmarks, in the forms that go round; the order of the ten numbers is found, not trusted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lsoftmax.errors import UserError, one_line

from .names import is_image_name
from .similarity import rms_residual, umeyama
from .templates import SPHEREFACE
from .text import numbered, read_lines, separator

TESTED, WANTED = 1000, 0.95
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "x y x y ...": lambda ten: ten.reshape(-1, 5, 2),
    "five x, five y": lambda ten: ten.reshape(-1, 2, 5).swapaxes(1, 2),
}


@dataclass(frozen=True)
class Landmarks:
    """points (N, 5, 2) float64: x, y of left eye, right eye, nose, left and right mouth corner, nan where unknown."""

    names: list[str]
    points: np.ndarray
    layout: str


def read_landmarks(path: str | Path) -> Landmarks:
    """Landmarks by image name.

    Text: a path and ten numbers, with a label or a box between them or none (SphereFace's, InsightFace's and CelebA's
    lists; csv). Or .npz with `names` (N,) and `landmarks` (N, 5, 2) or (N, 10). UserError for other files, and where
    fewer than 95 % of the faces look like faces in either order of the numbers.
    """
    path = Path(path).expanduser()
    names, ten = _from_npz(path) if path.suffix == ".npz" else _from_text(path)
    layout, points = _laid_out(path, ten)
    return Landmarks(names, points, layout)


def face_like(points: np.ndarray) -> np.ndarray:
    """(N, 5, 2) -> (N,) bool: left of the pairs is left, and eyes, nose and mouth come one below the other."""
    x, y = points[..., 0], points[..., 1]
    eyes, mouth = y[:, :2].mean(axis=1), y[:, 3:].mean(axis=1)
    good: np.ndarray = (x[:, 0] < x[:, 1]) & (x[:, 3] < x[:, 4]) & (eyes < y[:, 2]) & (y[:, 2] < mouth)
    return good


def _misfit(faces: np.ndarray) -> float:
    """The median distance from the template, in its pixels, after the best similarity."""

    def residual(face: np.ndarray) -> float:
        try:
            return rms_residual(umeyama(face, SPHEREFACE), face, SPHEREFACE)
        except ValueError:
            return np.inf

    return float(np.median([residual(face) for face in faces]))


def _laid_out(path: Path, ten: np.ndarray) -> tuple[str, np.ndarray]:
    known = np.isfinite(ten).all(axis=1)
    if not known.any():
        raise UserError(f"{path}: no landmarks in it")
    sample = ten[known][:: max(1, int(known.sum()) // TESTED)]
    shares = {name: float(face_like(arrange(sample)).mean()) for name, arrange in LAYOUTS.items()}
    # In a tight crop both orders may pass; only the true one has a face's proportions.
    best = min(LAYOUTS, key=lambda name: (shares[name] < WANTED, _misfit(LAYOUTS[name](sample))))
    if shares[best] < WANTED:
        best = max(shares, key=lambda name: shares[name])
        raise UserError(
            f"{path}: only {shares[best]:.0%} of the faces have their eyes above the nose, left before right; "
            "wanted are left eye, right eye, nose, left and right corner of the mouth, as seen in the image"
        )
    return best, LAYOUTS[best](ten)


def _from_text(path: Path) -> tuple[list[str], np.ndarray]:
    entries = list(numbered(read_lines(path)))
    mark = separator([line for _, line in entries[2:102]] or [line for _, line in entries])
    names, rows = [], []
    for position, (number, line) in enumerate(entries):
        fields = [field.strip() for field in line.split(mark)]
        found = _name_and_numbers(fields)
        if found is None:
            if position < 2 and not any(map(is_image_name, fields)):  # a count, or the columns' names
                continue
            raise UserError(f"{path}, line {number}: {line[:80]!r} is no image with five landmarks")
        names.append(found[0])
        rows.append(found[1])
    if not names:
        raise UserError(f"{path}: no line holds an image and five landmarks")
    return names, np.array(rows, dtype=np.float64)


def _name_and_numbers(fields: Sequence[str]) -> tuple[str, list[float]] | None:
    """The image's name and its last ten numbers; nan for InsightFace's lines that have none."""
    where = next((k for k, field in enumerate(fields) if is_image_name(field)), None)
    if where is None or where > 1:
        return None
    try:
        numbers = [float(field) for field in fields[where + 1 :] if field]
    except ValueError:
        return None
    if where == 1 and len(numbers) in (1, 5):  # a label, or a label and a box
        return fields[where], [np.nan] * 10
    # Ten, or in front of them a label, a box, or both.
    return (fields[where], numbers[-10:]) if len(numbers) in (10, 11, 14, 15) else None


def _from_npz(path: Path) -> tuple[list[str], np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            names, points = arrays["names"], arrays["landmarks"]
    except KeyError as error:
        raise UserError(f"{path}: lacks the array {error}; wanted are names (N,) and landmarks (N, 5, 2)") from None
    except Exception as error:  # numpy and zipfile raise whatever a damaged file leads to
        raise UserError(f"{path}: cannot be read ({one_line(error)})") from None
    if not isinstance(names, np.ndarray) or not isinstance(points, np.ndarray):
        raise UserError(f"{path}: names and landmarks are no arrays")
    if names.ndim != 1 or names.dtype.kind != "U" or points.shape not in ((len(names), 5, 2), (len(names), 10)):
        raise UserError(f"{path}: names {names.shape} and landmarks {points.shape}; wanted are (N,) and (N, 5, 2)")
    if points.dtype.kind not in "fiu" or not len(names):
        raise UserError(f"{path}: landmarks of {points.dtype}, {len(names)} of them")
    return names.tolist(), points.reshape(-1, 10).astype(np.float64)
