"""key=value options of the scripts, and errors in one line."""

import errno
import os
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
        from lsoftmax.errors import UserError, first_line

        of_nobody = _home_of_nobody(sys.argv[1:])
        if isinstance(error, RuntimeError) and "home directory" in str(error) and of_nobody:  # Path.expanduser
            error = UserError(f"{of_nobody}: there is no such home folder")
        if is_memory_error(error):
            error = UserError(f"not enough memory ({first_line(error)}); take fewer images")
        if not isinstance(error, UserError):
            raise
        return _fail(error)
    return 0


def _home_of_nobody(arguments: Sequence[str]) -> str | None:
    """The first that names a path below the home of a user whom nobody knows."""
    values = {each: each.partition("=")[2] or each for each in arguments if "~" in each}
    return next((each for each, value in values.items() if os.path.expanduser(value).startswith("~")), None)


def _fail(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2
