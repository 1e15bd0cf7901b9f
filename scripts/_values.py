"""Values of the scripts' own options, checked: one line names the key and what is accepted."""

from collections.abc import Sequence

from configs.errors import ConfigError


def whole(own: dict[str, str], key: str, default: int, *, least: int) -> int:
    return wholes(own, key, (default,), least=least, single=True)[0]


def wholes(
    own: dict[str, str], key: str, default: Sequence[int], *, least: int, single: bool = False
) -> tuple[int, ...]:
    """A list is written 1,10,100."""
    if key not in own:
        return tuple(default)
    try:
        values = tuple(int(part) for part in own[key].split(","))
        if min(values) < least or (single and len(values) > 1):
            raise ValueError
    except ValueError:
        wanted = "an integer" if single else "integers, as in 1,10,100,"
        raise ConfigError(f"{key} must be {wanted} >= {least}, got {own[key]!r}") from None
    return values


def truth(own: dict[str, str], key: str, default: bool) -> bool:
    if own.get(key, "true") not in ("true", "false"):
        raise ConfigError(f"{key} must be true or false, got {own[key]!r}")
    return own[key] == "true" if key in own else default


def rates(own: dict[str, str], key: str, default: Sequence[float]) -> tuple[float, ...]:
    """Numbers in (0, 1], written 0.1,1e-3."""
    if key not in own:
        return tuple(default)
    try:
        values = tuple(float(part) for part in own[key].split(","))
        if not all(0 < value <= 1 for value in values):
            raise ValueError
    except ValueError:
        raise ConfigError(f"{key} must be rates above 0, at most 1, as in 0.01,1e-3, got {own[key]!r}") from None
    return values
