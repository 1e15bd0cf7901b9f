"""key=value options of the scripts, and errors in one line."""

import os
import sys
from collections.abc import Callable, Sequence

from configs.errors import ConfigError


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


def main(script: Callable[[list[str]], None], about: str | None) -> int:
    """Run it on the command line: 0, or 2 and one line for what the user can mend. -h prints what it is about."""
    if any(argument in ("-h", "--help") for argument in sys.argv[1:]):
        print((about or "").strip())
        return 0
    try:
        script(sys.argv[1:])
    except ConfigError as error:
        return _fail(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has gone (| head)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 0
    except Exception as error:
        from lsoftmax.errors import UserError  # not above: it would import torch before the options are checked

        if not isinstance(error, UserError):
            raise
        return _fail(error)
    return 0


def _fail(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2
