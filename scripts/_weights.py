"""Where the weights of a run lie."""

from pathlib import Path

from configs.errors import ConfigError


def weights_of(run: Path) -> Path:
    """ConfigError if the run has none."""
    path = run / "model.safetensors"
    if not path.exists():
        raise ConfigError(f"the run in {run} has no weights: it has not ended, or it diverged (see its result.json)")
    return path
