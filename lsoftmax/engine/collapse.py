"""When a run gives a class up, and when a finished one counts as collapsed, as far as its own record tells."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

ENOUGH = 20  # test images a class: who knows the class takes one of so many for it, at least
SHRUNK = 0.2  # of the mean norm of the class weights: what a class has left that is given up (docs/stability.md)


def gives_up_a_class(line: Mapping[str, Any]) -> bool | None:
    """Whether the least of the class weights has shrunk beside their mean, at a logged step (a line of metrics.jsonl).

    None where the line does not tell. On faces, with few images a class, runs collapse without it.
    """
    least, mean = line.get("weight_norm_min"), line.get("weight_norm")
    if least is None or mean is None:
        return None
    least, mean = float(least), float(mean)  # metrics.jsonl has "inf" and "nan" for what is not finite
    return least < SHRUNK * mean if math.isfinite(mean) and not math.isnan(least) else None


def given_up_at(lines: Iterable[Mapping[str, Any]]) -> int | None:
    """The step at which a class is given up that had been there: two features may begin with any norms."""
    there = False
    for line in lines:
        gone = gives_up_a_class(line)
        if gone and there:
            return int(line["step"])
        there = there if gone is None else not gone
    return None


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
