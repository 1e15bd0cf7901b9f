"""The default run folder: outputs/runs/DATASET/OVERRIDES/seed=N, named by what was asked."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from configs.schema import Settings
from configs.settings import ROOT

# Said elsewhere in the path, or no part of what a run is.
_LEFT_OUT = re.compile(
    r"[+~]*(dataset|dataset\.(check_integrity|stream)|seed|device|trainer(\..*)?|data_root|data_download|run_dir)(=|$)"
)
_LONGEST = 150  # bytes, of the 255 that a file system allows


def run_directory(settings: Settings, overrides: Sequence[str]) -> Path:
    """`run_dir` where it is given; else the same folder for the same options in any order."""
    if settings.run_dir is not None:
        return Path(settings.run_dir).expanduser()
    return ROOT / default_directory(settings, overrides)


def default_directory(settings: Settings, overrides: Sequence[str]) -> Path:
    """The same without `run_dir`, from the project's folder on: equal on every machine."""
    asked = ",".join(sorted(item for item in overrides if not _LEFT_OUT.match(item))) or "default"
    name = re.sub(r"[^\w.=+,\[\]-]", "_", asked, flags=re.ASCII)
    if name != asked or len(name) > _LONGEST:  # what the name no longer says, the hash does
        name = f"{name[:_LONGEST]}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"
    dataset: str = settings.dataset.name
    return Path("outputs", "runs", dataset, name, f"seed={settings.seed}")
