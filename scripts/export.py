"""A trained network for others: weights, description, and a graph that runs with torch alone.

    python scripts/export.py run=outputs/runs/mnist5k/default/seed=0 out=FOLDER

run=   a finished run's folder
out=   a folder for model.pt2 (torch.export: bytes in, embeddings and logits out), model.safetensors, config.json and
       README.md, the model card
model.pt2 is compared with the run's own network before anything is written.
"""

import _root  # noqa: F401

# isort: split

import json
import sys
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from scripts import _cli

OPTIONS = ["run", "out"]


def export(arguments: list[str]) -> None:
    """See above."""
    own, rest = _cli.split_options(arguments, OPTIONS)
    _cli.refuse(rest, OPTIONS)
    for key in OPTIONS:
        if not own.get(key):
            raise ConfigError(f"give run=FOLDER out=FOLDER: {key}= is missing")
    run, out = (Path(own[key]).expanduser() for key in OPTIONS)
    if out.resolve() == run.resolve():
        raise ConfigError(f"out={own['out']} is the run's own folder: choose another")
    for name in ("README.md", "config.json"):
        if (out / name).exists() and not (out / "model.pt2").exists():
            raise ConfigError(f"out={own['out']}: its {name} is not from an export; choose another folder")

    from lsoftmax.errors import UserError
    from lsoftmax.files import make_folder, write_atomically, write_json, write_text
    from scripts import _inference, _model_card
    from scripts._network import open_network

    network = open_network(run, ["device=cpu"])  # a graph keeps the device it was made on
    result = _result(run / "result.json")
    content = _inference.exported(network)
    differences = _inference.differences(content, network, out / "model.pt2")
    make_folder(out)
    try:
        weights = (run / "model.safetensors").read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {run / 'model.safetensors'}: {error.strerror}") from error
    write_atomically(out / "model.pt2", lambda file: file.write(content))
    write_atomically(out / "model.safetensors", lambda file: file.write(weights))
    write_json(out / "config.json", _model_card.config(network, result))
    write_text(out / "README.md", _model_card.card(network, result))
    largest = ", ".join(f"{name} {difference:.1e}" for name, difference in differences.items())
    print(f"largest difference from the run's own network, relative: {largest}")
    print(f"written to {out}: model.pt2, model.safetensors, config.json, README.md")


def _result(path: Path) -> dict[str, Any]:
    """What the run measured; nothing if it did not come to that."""
    from lsoftmax.errors import UserError

    try:
        result = json.loads(path.read_text())
        if not isinstance(result, dict):
            raise ValueError("no record")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): remove it to export without numbers") from error
    return result


if __name__ == "__main__":
    sys.exit(_cli.main(export, __doc__))
