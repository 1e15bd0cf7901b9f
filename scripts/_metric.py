"""What the numbers of a table are, read from the record of a run."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from data.faces.hold_out import HELD_OUT
from scripts._records import COLLAPSED, UNLEARNED, Record, verdict


class Metric(ABC):
    """A percentage over tests that a run gets right or wrong, one by one."""

    head: str  # above a column
    better: str  # lower or higher
    meaning: str  # what a reader of the table should know of the number
    tests: str  # what is tested
    paired = True  # two runs can be compared test by test
    collapsed = COLLAPSED  # when a run counts as that

    @abstractmethod
    def value(self, run: Record) -> float | None:
        """In percent; None of a run that has none."""

    @abstractmethod
    def wrong(self, run: Record) -> list[int] | None:
        """Which tests went wrong; None where there is no value."""

    @abstractmethod
    def count(self, run: Record) -> int:
        """The number of tests."""

    def verdict(self, run: Record, softmax: Sequence[Record]) -> str:
        """finished, diverged or collapsed; softmax: the runs of the same setting without a margin."""
        return verdict(run, softmax)


class TestError(Metric):
    head, better, tests = "test error", "lower", "images"
    meaning = "Test error of the last step in percent"

    def value(self, run: Record) -> float | None:
        error: float | None = run["test_error"]
        return error

    def wrong(self, run: Record) -> list[int] | None:
        wrong: list[int] | None = run["wrong"]
        return wrong

    def count(self, run: Record) -> int:
        return int(run["test_images"])


class ValidationError(TestError):
    """To choose by. Which images went wrong is not kept."""

    head, paired = "validation error", False
    meaning = "Error on validation images at the last step in percent"

    def value(self, run: Record) -> float | None:
        error: float | None = run["val_error"]
        return error

    def wrong(self, run: Record) -> list[int] | None:
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

    def wrong(self, run: Record) -> list[int] | None:
        pairs = reported(run)
        return None if pairs is None else list(pairs["wrong_pairs"])

    def count(self, run: Record) -> int:
        pairs = reported(run)
        return 0 if pairs is None else int(pairs["pairs"])


def reported(run: Record) -> dict[str, Any] | None:
    """What a run says of the first set of pairs that is for reporting; people held out are to choose by."""
    return next((pairs for name, pairs in (run["verification"] or {}).items() if name != HELD_OUT), None)


METRICS: dict[str, Metric] = {
    "test_error": TestError(),
    "val_error": ValidationError(),
    "verification": VerificationAccuracy(),
}
