"""Small faces in every container, written by the tests themselves."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def face() -> Callable[..., bytes]:
    """face(seed, height=112, width=96, format="JPEG") -> the content of an image file, smooth."""

    def make(seed: int, height: int = 112, width: int = 96, format: str = "JPEG", **options: object) -> bytes:
        coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR).save(file, format, **options)
        return file.getvalue()

    return make
