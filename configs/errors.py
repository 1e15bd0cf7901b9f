"""Errors in the configuration, and Hydra's own turned into one line."""

import difflib

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from configs import schema


class ConfigError(ValueError):
    """A key, a value or a file of the configuration is wrong; the message is one line and names it."""


def cannot_read(what: object, error: Exception) -> ConfigError:
    """All that the error says, on one line."""
    return ConfigError(f"{what} cannot be read: {' '.join(str(error).split()) or type(error).__name__}")


def translate(error: HydraException | OmegaConfBaseException) -> ConfigError:
    """The one line that a user needs of an error of Hydra or OmegaConf."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        return ConfigError(f"{group}={name}: there is no such config; choose one of {', '.join(error.options)}")
    if isinstance(error, OverrideParseException):
        return ConfigError(f"cannot read {error.override!r}; options are written key=value")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
            return unknown_key(str(cause.full_key))
        cause = cause.__cause__
    said = " ".join(str(error).split("\n")[0].split())
    if isinstance(error, OmegaConfBaseException) and error.full_key:  # ${a reference to nothing}
        said = f"{error.full_key}: {said}"
    return ConfigError(said)


def unknown_key(key: str) -> ConfigError:
    """Names the nearest key that exists, or several that are as near."""
    known = [*schema.all_keys(), "experiment", "debug"]
    if key in known and "." in key:
        return ConfigError(f"{key} does not go with the chosen {key.split('.')[0]}: it is a key of another one")
    near = difflib.get_close_matches(key, known, n=3)
    likeness = [difflib.SequenceMatcher(None, name, key).ratio() for name in near]
    alike = " or ".join(name for name, ratio in zip(near, likeness, strict=True) if ratio == likeness[0])
    return ConfigError(f"unknown key {key}" + (f"; did you mean {alike}?" if near else "; see python train.py --help"))
