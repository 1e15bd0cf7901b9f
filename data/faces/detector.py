"""A face detector of the user's own, as a plug-in: detector=module:function."""

import importlib
import sys
from collections.abc import Callable

import numpy as np

from lsoftmax.errors import UserError, one_line


class Detector:
    """Calls function(image) -> landmarks of the faces in it, (K, 5, 2) or (5, 2), or None.

    The image is (H, W, 3) uint8, RGB; landmarks are x, y in pixels from 0, in the order of `templates`. The module is
    looked for in the working folder too, and is imported in every worker, at its first image.
    """

    def __init__(self, text: str) -> None:
        self.module, _, self.function = text.partition(":")
        if not self.module or not self.function:
            raise UserError(f"detector={text}: write module:function")
        self._call: Callable[[np.ndarray], np.ndarray | None] | None = None

    def check(self) -> None:
        """UserError if there is no such function."""
        self._resolved()

    def __call__(self, image: np.ndarray) -> np.ndarray | None:
        """(5, 2): of several faces the one nearest to the middle of the image; None if there is none."""
        try:
            found = self._resolved()(image)
            faces = np.asarray([] if found is None else found, dtype=np.float64)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"detector={self.module}:{self.function} failed: {type(error).__name__}: {error}"
            ) from error
        if faces.size == 0:
            return None
        if faces.ndim == 2:
            faces = faces[None]
        if faces.shape[1:] != (5, 2):
            raise UserError(f"detector={self.module}:{self.function} returned {faces.shape}, wanted is (faces, 5, 2)")
        middle = np.array([image.shape[1] - 1, image.shape[0] - 1]) / 2
        nearest: np.ndarray = faces[np.linalg.norm(faces.mean(axis=1) - middle, axis=1).argmin()]
        return nearest

    def _resolved(self) -> Callable[[np.ndarray], np.ndarray | None]:
        if self._call is None:
            if "" not in sys.path:
                sys.path.append("")  # for good: the module may import others of that folder when it is called
            try:
                self._call = getattr(importlib.import_module(self.module), self.function)
            except Exception as error:  # an import runs the module
                reason = one_line(error)
                raise UserError(f"detector={self.module}:{self.function}: {type(error).__name__}: {reason}") from None
            if not callable(self._call):
                raise UserError(f"detector={self.module}:{self.function} is no function")
        return self._call
