"""What the options are held against, each failure one line: argument, value, what is accepted."""

from collections.abc import Sequence


def check_choice(argument: str, value: str, accepted: Sequence[str]) -> None:
    """Raise ValueError unless `value` is one of `accepted`."""
    if value not in accepted:
        raise ValueError(f"{argument}={value!r}: must be one of {', '.join(accepted)}")


def check_counts(argument: str, value: Sequence[int], meaning: Sequence[str]) -> None:
    """Raise ValueError unless `value` holds one integer >= 1 for each name in `meaning`."""
    if len(value) != len(meaning) or any(not isinstance(count, int) or count < 1 for count in value):
        raise ValueError(f"{argument}={tuple(value)}: must be ({', '.join(meaning)}), integers >= 1")
