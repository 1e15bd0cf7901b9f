"""A detector of landmarks that the user names."""

import sys
import types

import numpy as np
import pytest

from data.faces.detector import Detector
from lsoftmax.errors import UserError


def several(image):
    face = np.array([[3, 3], [6, 3], [4, 5], [3, 7], [6, 7]], float)
    return np.stack([face, face + 45, face + 90])


def nothing(image):
    return None


def broken(image):
    raise RuntimeError("no weights")


def wrong(image):
    return np.zeros((2, 4, 2))


def test_of_several_faces_the_middle_one_counts(monkeypatch) -> None:
    module = types.ModuleType("mine")
    module.__dict__.update(several=several, nothing=nothing, broken=broken, wrong=wrong, number=lambda image: 5)
    monkeypatch.setitem(sys.modules, "mine", module)
    image = np.zeros((100, 100, 3), np.uint8)
    assert Detector("mine:several")(image)[0].tolist() == [48, 48]
    assert Detector("mine:nothing")(image) is None
    wanted = [("wrong", "wanted is"), ("number", "wanted is"), ("absent", "absent")]
    for name, part in (("broken", "RuntimeError: no weights"), *wanted):
        with pytest.raises(UserError, match=part):
            Detector(f"mine:{name}")(image)


def test_the_middle_of_an_image_that_is_no_square_is_of_its_columns_and_rows(monkeypatch) -> None:
    module = types.ModuleType("mine")
    module.faces = lambda image: np.stack([np.full((5, 2), [20.0, 60.0]), np.full((5, 2), [60.0, 20.0])])
    monkeypatch.setitem(sys.modules, "mine", module)
    assert Detector("mine:faces")(np.zeros((40, 120, 3), np.uint8))[0].tolist() == [60, 20]


@pytest.mark.parametrize(
    "text", ["", "module", ":function", "module:", "no_such_module:f", ".:x", "bad_syntax:f", "raises_at_import:f"]
)
def test_a_detector_that_is_none_is_one_line(text, tmp_path, monkeypatch) -> None:
    (tmp_path / "bad_syntax.py").write_text("def f(:\n")
    (tmp_path / "raises_at_import.py").write_text("raise RuntimeError('no\\nweights')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="detector=") as caught:
        Detector(text).check()
    assert "\n" not in str(caught.value)
