"""The configuration: values in YAML, types and ranges in schema.py, one crossing in settings.py.

Nothing here imports torch: a mistyped key is answered in half a second.
"""

from configs.errors import ConfigError
from configs.schema import Settings
from configs.settings import ROOT, compose

__all__ = ["ROOT", "ConfigError", "Settings", "compose"]
