"""Test error of trained weights, by class, with the confusion matrix; plain logits in float32.

    python scripts/evaluate.py run=outputs/runs/mnist5k/default/seed=0
    python scripts/evaluate.py weights=model.safetensors dataset=cifar10 model.width=0.25 loss=softmax

run=      a finished run's folder: its own data set, network and loss
weights=  a safetensors file; data set, network and loss are chosen as for train.py
set=      test (default), val or train
out=      a JSON file for the numbers; the confusion matrix of at most 1,000 classes
Further options are the configuration's: device=, data_root=, data_download=, trainer.eval_batch_size=, ...
"""

import _root  # noqa: F401

# isort: split

import json
import sys
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from configs.schema import Settings
from configs.settings import compose, of_run
from scripts import _cli, _values
from scripts._weights import weights_of

LISTED = 100  # classes, on the terminal
MATRIX = 1_000  # classes: the matrix of CASIA-WebFace's 10,575 would be a gigabyte


def evaluate(arguments: list[str]) -> None:
    """See above."""
    own, overrides = _cli.split_options(arguments, ["run", "weights", "set", "out"])
    out = _values.new_file(own, "out", "FILE.json") if "out" in own else None
    settings, path = _settings_and_weights(own, overrides)
    if out is not None:
        from lsoftmax.files import make_folder, write_json

        make_folder(out.parent)  # now: a place that takes no file should not cost the pass
    numbers = _measure(settings, path, own.get("set", "test"))
    print(_report(numbers))
    if "run" in own and numbers["set"] == "test":
        print(_compared(Path(own["run"]).expanduser(), numbers["error"]))
    if out is not None:
        write_json(out, numbers)


def _settings_and_weights(own: dict[str, str], overrides: list[str]) -> tuple[Settings, Path]:
    if ("run" in own) == ("weights" in own):
        raise ConfigError("give either run=FOLDER or weights=FILE")
    if own.get("set", "test") not in ("train", "val", "test"):
        raise ConfigError(f"set must be one of train, val, test, got {own['set']!r}")
    if "weights" in own:
        return compose(overrides), Path(own["weights"]).expanduser()
    run = Path(own["run"]).expanduser()
    return of_run(run, overrides), weights_of(run)


def _measure(settings: Settings, path: Path, name: str) -> dict[str, Any]:
    from assemble import build_network, evaluation_batches, load_data, parts
    from lsoftmax.engine.device import choose_device, set_determinism
    from lsoftmax.engine.evaluation import evaluate
    from lsoftmax.engine.weights import load_into, read_weights
    from lsoftmax.errors import UserError
    from lsoftmax.metrics import confusion_matrix

    device = choose_device(settings.device)
    set_determinism(True)
    tensors, _ = read_weights(path)
    if "input.mean" not in tensors:
        raise UserError(f"{path} lacks input.mean: it was not written by train.py")
    splits = load_data(settings)
    if name not in parts(splits):
        raise UserError(f"set={name}: {_why_not(settings, faces=splits.preparation is not None)}")
    images = parts(splits)[name]
    mean = tensors["input.mean"]
    if mean.ndim != 3 or any(a not in (1, b) for a, b in zip(mean.shape, images.image_shape, strict=True)):
        raise UserError(f"{path}: input.mean {tuple(mean.shape)} does not fit images of {images.image_shape}")
    backbone, criterion = build_network(settings, images, device)
    load_into(backbone, tensors, "backbone", path)
    load_into(criterion, tensors, "criterion", path)
    evaluation = evaluate(backbone, criterion, evaluation_batches(settings, images, mean, device))
    predictions, labels, classes = evaluation.predictions, evaluation.labels, images.num_classes
    images_of = labels.bincount(minlength=classes).tolist()
    missed = labels[predictions != labels].bincount(minlength=classes).tolist()
    return {
        "dataset": settings.dataset.name,
        "set": name,
        "images": len(images),
        "error": evaluation.error,
        "classes": list(images.class_names),
        "class_error": [100 * wrong / of if of else None for wrong, of in zip(missed, images_of, strict=True)],
        "confusion": confusion_matrix(predictions, labels, classes).tolist() if classes <= MATRIX else None,
    }


def _why_not(settings: Settings, *, faces: bool) -> str:
    if faces:
        return "of faces people are held out, not images: the run's result.json says how well it verifies them"
    return f"this configuration has no such images (dataset.validation={settings.dataset.validation})"


def _report(numbers: dict[str, Any]) -> str:
    """Errors by class; the matrix too where it fits a terminal."""
    names, count = numbers["classes"], numbers["images"]
    lines = _by_class(numbers) if len(names) <= LISTED else [f"out=FILE gets the errors of all {len(names):,} classes"]
    wrong = round(numbers["error"] * count / 100)
    lines.append(f"\n{numbers['set']} error {numbers['error']:.2f} % ({wrong} of {count} images)")
    return "\n".join(lines)


def _by_class(numbers: dict[str, Any]) -> list[str]:
    names, confusion = numbers["classes"], numbers["confusion"]
    width = max(5, *(len(name) for name in names))
    shows_matrix = len(names) <= 20
    title = "class".ljust(width) + "   error %"
    lines = [title + ("   predicted as " + ", ".join(names) if shows_matrix else "")]
    for name, error, row in zip(names, numbers["class_error"], confusion, strict=True):
        cells = "   " + " ".join(f"{count:5d}" for count in row) if shows_matrix else ""
        lines.append(f"{name.ljust(width)}   {'-' if error is None else format(error, '7.2f')}{cells}")
    return lines


def _compared(run: Path, error: float) -> str:
    try:
        recorded = json.loads((run / "result.json").read_text())["test_error"]
        known = f"result.json says {recorded:.2f} %"
    except FileNotFoundError:
        return "there is no result.json to compare with"
    except (OSError, ValueError, KeyError, TypeError):
        return "result.json cannot be read: nothing to compare with"
    return "as in result.json" if recorded == error else known


if __name__ == "__main__":
    sys.exit(_cli.main(evaluate, __doc__))
