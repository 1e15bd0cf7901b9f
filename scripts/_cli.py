"""key=value options of the scripts, and errors in one line."""

import errno
import math
import sys
from collections.abc import Callable, Sequence

from configs.errors import ConfigError
from configs.streams import open_streams, refused

REFUSALS = (errno.EPIPE, errno.ENOSPC, errno.EBADF, errno.EIO)  # what an output without a name may say


def split_options(arguments: Sequence[str], own: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The script's own options by key, and the rest, which is for the configuration. ConfigError if it is no option."""
    found: dict[str, str] = {}
    rest = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not key:
            raise ConfigError(f"cannot read {argument!r}; options are written key=value ({', '.join(own)}, ...)")
        if key in own:
            found[key] = value
        else:
            rest.append(argument)
    return found, rest


def refuse(rest: Sequence[str], own: Sequence[str]) -> None:
    """ConfigError if options are left that nothing takes."""
    if rest:
        raise ConfigError(f"unknown option {rest[0]}; there are {', '.join(f'{key}=' for key in own)}")


def whole(own: dict[str, str], key: str, default: int) -> int:
    """The option as an integer >= 1."""
    value = own.get(key, str(default))
    if not value.isdecimal() or len(value) > 18 or int(value) < 1:  # Python refuses numbers of thousands of digits
        raise ConfigError(f"{key} must be an integer >= 1, got {value[:80]!r}")
    return int(value)


def minutes(own: dict[str, str], key: str) -> float | None:
    """The option as a number >= 0; None if it is not given."""
    value = own.get(key)
    try:
        number = None if value is None else float(value)
    except ValueError:
        number = math.nan
    if number is not None and not 0 <= number < math.inf:
        raise ConfigError(f"{key} must be a number >= 0, got {value!r}")
    return number


def flag(own: dict[str, str], key: str, default: bool) -> bool:
    """The option as true or false."""
    value = own.get(key, str(default)).lower()
    if value not in ("true", "false"):
        raise ConfigError(f"{key} must be true or false, got {own[key]!r}")
    return value == "true"


def main(script: Callable[[list[str]], None], about: str | None) -> int:
    """Run it on the command line: 0, or 2 and one line for what the user can mend. -h prints what it is about."""
    open_streams()
    code = 0
    try:
        code = _run(script, about)
        sys.stdout.flush()  # here, not when Python ends: then nobody could answer for what cannot be written
    except OSError as error:
        if error.filename is not None or error.errno not in REFUSALS:  # of a file that a script should have named
            raise
        said = refused(error)
        return _fail(ConfigError(said)) if said else code
    return code


def _run(script: Callable[[list[str]], None], about: str | None) -> int:
    try:
        if any(argument in ("-h", "--help") for argument in sys.argv[1:]):
            print((about or "").strip())
        else:
            script(sys.argv[1:])
    except ConfigError as error:
        return _fail(error)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        # Not above: it would import torch before the options are checked.
        from lsoftmax.engine.device import is_memory_error
        from lsoftmax.engine.files import first_line
        from lsoftmax.errors import UserError

        if is_memory_error(error):
            error = UserError(f"not enough memory ({first_line(error) or type(error).__name__}); take fewer images")
        if not isinstance(error, UserError):
            raise
        return _fail(error)
    return 0


def _fail(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2
