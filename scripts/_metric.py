"""What the numbers of a table are, read from the record of a run."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from data.faces.hold_out import HELD_OUT
from scripts._records import COLLAPSED, UNLEARNED, Record, verdict


class Metric(ABC):
    """A percentage over tests that a run gets right or wrong."""

    head: str  # above a column
    axis = ""  # along an axis, where a reader of the picture alone would not know the head
    better: str  # lower or higher
    meaning: str  # what a reader of the table should know of the number
    tests: str  # what is tested
    paired = True  # two runs can be compared test by test
    collapsed = COLLAPSED  # when a run counts as that

    @abstractmethod
    def value(self, run: Record) -> float | None:
        """In percent; None of a run that has none."""

    @abstractmethod
    def wrong(self, run: Record) -> Tensor | None:
        """(N,) whether each test went wrong, or how many of each group's did; None where that is not known."""

    def sizes(self, run: Record) -> Tensor | None:
        """(N,) the number of tests in each group; None where they stand for themselves."""
        return None

    def verdict(self, run: Record, softmax: Sequence[Record]) -> str:
        """finished, diverged or collapsed; softmax: the runs of the same setting without a margin."""
        return verdict(run, softmax)


class TestError(Metric):
    head, better, tests = "test error", "lower", "images"
    meaning = "Test error of the last step in percent"

    def value(self, run: Record) -> float | None:
        error: float | None = run["test_error"]
        return error

    def wrong(self, run: Record) -> Tensor | None:
        return None if run["wrong"] is None else _marked(run["wrong"], run["test_images"])


class ValidationError(TestError):
    """To choose by. Which images went wrong is not kept."""

    head, paired = "validation error", False
    meaning = "Error on validation images at the last step in percent"

    def value(self, run: Record) -> float | None:
        error: float | None = run["val_error"]
        return error

    def wrong(self, run: Record) -> Tensor | None:
        return None


class VerificationAccuracy(Metric):
    """Of the first set of pairs that is for reporting.

    The people in the pairs are none of the training's: train errors are not compared with softmax's.
    """

    head, better, tests = "accuracy", "higher", "pairs"
    meaning = "Share of the pairs that the last step's network judges rightly, in percent"
    collapsed = UNLEARNED

    def verdict(self, run: Record, softmax: Sequence[Record]) -> str:
        return verdict(run)

    def value(self, run: Record) -> float | None:
        pairs = reported(run)
        return None if pairs is None else 100 * float(pairs["accuracy"])

    def wrong(self, run: Record) -> Tensor | None:
        pairs = reported(run)
        return None if pairs is None else _marked(pairs["wrong_pairs"], pairs["pairs"])


class Unseen(Metric):
    """What scripts/unseen.py has measured, of the same images: drawn class by class, for theirs are alike."""

    head, better, tests = "unseen, recall at 1", "higher", "classes"
    axis = "unseen: nearest is of its class"
    meaning = (
        "of images of classes that the network has never seen, the share whose nearest other image by the cosine of "
        "the features is of the same class, in percent"
    )

    def value(self, run: Record) -> float | None:
        found: float | None = run.get("unseen", {}).get("recall_at_1")
        return found

    def wrong(self, run: Record) -> Tensor | None:
        misses = run.get("unseen", {}).get("misses")  # older ones are without
        return None if misses is None else torch.tensor(misses)

    def sizes(self, run: Record) -> Tensor | None:
        queries = run.get("unseen", {}).get("queries")
        return None if queries is None else torch.tensor(queries)


class UnseenPairs(Metric):
    """A rate that scripts/unseen.py has measured over all pairs of images of classes that the network has never seen.

    The pairs are not kept: with one number a run, the interval of a difference is over seeds alone.
    """

    tests = "pairs"

    def __init__(self, key: str, head: str, better: str, meaning: str) -> None:
        self.key, self.head, self.better, self.meaning = key, head, better, meaning

    def value(self, run: Record) -> float | None:
        found: float | None = run.get("unseen", {}).get(self.key)  # older ones are without
        return found

    def wrong(self, run: Record) -> Tensor | None:
        value = self.value(run)
        if value is None:
            return None
        return torch.tensor([value if self.better == "lower" else 100 - value], dtype=torch.float64) / 100


def _marked(wrong: Sequence[int], count: int) -> Tensor:
    """(count,) bool: True at these places."""
    marked = torch.zeros(count, dtype=torch.bool)
    marked[list(wrong)] = True
    return marked


def reported(run: Record) -> dict[str, Any] | None:
    """What a run says of the first set of pairs that is for reporting; people held out are to choose by."""
    return next((pairs for name, pairs in (run["verification"] or {}).items() if name != HELD_OUT), None)


METRICS: dict[str, Metric] = {
    "test_error": TestError(),
    "val_error": ValidationError(),
    "verification": VerificationAccuracy(),
    "unseen": Unseen(),
    "unseen_tar": UnseenPairs(
        "tar",
        "unseen, TAR at FAR 0.001",
        "higher",
        "of all pairs of these images that are of one class, the share above the threshold that one in 1,000 of the "
        "others passes",
    ),
    "unseen_eer": UnseenPairs(
        "eer",
        "unseen, EER",
        "lower",
        "the error of the threshold at which as many of either kind are on the wrong side",
    ),
}
