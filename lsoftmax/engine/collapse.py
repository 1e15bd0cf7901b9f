"""When a finished run counts as collapsed, as far as its own record tells."""

from collections.abc import Mapping
from typing import Any

ENOUGH = 20  # test images a class: who knows the class takes one of so many for it, at least


def has_collapsed(record: Mapping[str, Any]) -> bool:
    """A class given up, or a training set that was not learned.

    A class is given up that is never predicted, where ENOUGH test images of it could be; of smaller test sets a run is
    collapsed that predicts one class alone. Not learned means a train error above half of chance's.

    Args:
        record: of a finished run; num_classes, test_images, predicted_classes and train_error are looked at.
    """
    classes = record["num_classes"]
    expected = classes if record["test_images"] >= ENOUGH * classes else 2
    return bool(record["predicted_classes"] < expected or record["train_error"] > 50 * (1 - 1 / classes))
