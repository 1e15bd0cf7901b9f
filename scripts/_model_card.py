"""README.md beside an exported network, and config.json: what it is, what it takes, what it was measured at."""

from collections.abc import Mapping
from typing import Any

from configs.settings import identity
from data.faces.templates import LANDMARKS, TEMPLATES
from models import TABLE1
from scripts._network import Network

CITATION = """@inproceedings{liu2016large,
  title     = {Large-Margin Softmax Loss for Convolutional Neural Networks},
  author    = {Liu, Weiyang and Wen, Yandong and Yu, Zhiding and Yang, Meng},
  booktitle = {Proceedings of the 33rd International Conference on Machine Learning (ICML)},
  pages     = {507--516},
  year      = {2016}
}"""
METHODS = {  # of alignment: what the card says of them
    "umeyama": ", the least-squares similarity of five landmarks",
    "cp2tform": ", MATLAB's similarity of five landmarks",
    "fixed": ", one cut for all images of 250 x 250 that brings the mean landmarks of LFW",
}
NUMBERS = {  # of result.json: what the card calls them
    "test_error": "test error (%)",
    "val_error": "validation error (%)",
    "train_error": "train error (%)",
    "test_images": "test images",
    "steps": "training steps",
    "parameters": "parameters, with the classifier",
    "multiply_adds": "multiply-adds per image",
}


def config(network: Network, result: Mapping[str, Any]) -> dict[str, Any]:
    """config.json. mean: null where it is an image of its own, which model.safetensors holds as input.mean."""
    channels, *size = network.image_shape
    mean = network.mean.flatten().tolist() if network.mean[0].numel() == 1 else None
    return {
        "input": {
            "shape": ["N", channels, *size],
            "dtype": ["uint8", "float32"],
            "range": [0, 255],
            "colour": "RGB" if channels == 3 else "grey",
            "mean": mean,
            "scale": network.settings.dataset.scale,
        },
        "output": {
            "embeddings": ["N", network.backbone.feature_size],
            "logits": ["N", len(network.criterion.weight)],
        },
        "training": identity(network.settings),
        "result": {key: result[key] for key in NUMBERS if result.get(key) is not None},
        "dataset_sha256": result.get("dataset_sha256"),
        "versions": result.get("versions"),
    }


def card(network: Network, result: Mapping[str, Any]) -> str:
    """README.md."""
    settings, (channels, height, width) = network.settings, network.image_shape
    classes, features = len(network.criterion.weight), network.backbone.feature_size
    loss = settings.loss.name + (f" (m = {settings.loss.m:g})" if hasattr(settings.loss, "m") else "")
    scaled = "" if settings.model.width == 1 else f", {settings.model.width:g} times as wide as in the paper"
    of_table = settings.model.name in TABLE1
    kind = (
        "convolutional network after Table 1 of the L-Softmax paper" if of_table else settings.model.name + " network"
    )
    colour = {1: "grey", 3: "RGB"}.get(channels, f"{channels} channels")
    return f"""# {settings.model.name} network, trained with {loss} on {settings.dataset.name}

A {kind}{scaled}.
It maps an image to an embedding of {features} numbers and to the plain logits (without margin) of {classes:,} classes,
which are numbered as in the data set.

| file | holds |
|---|---|
| model.pt2 | preprocessing, network and classifier as one graph: needs torch and nothing else |
| model.safetensors | the weights: `backbone.*`, `criterion.*`, and `input.mean` |
| config.json | shapes, preprocessing, how it was trained, the numbers below |

```python
import torch

model = torch.export.load("model.pt2").module()
embeddings, logits = model(images)  # (N, {features}), (N, {classes})
```

## Preprocessing

`images` are (N, {channels}, {height}, {width}), {colour}, uint8 or float32 with values from 0 to 255; N is at least 1.
{_arithmetic(network)} is part of the graph: do not normalise images yourself.{_alignment(network)}

## Data

{_data(settings.dataset)}
The data are not part of this folder. Whether their licence permits what you do with a network trained on them is yours
to check; the licence of the code (MIT) does not cover it.

## Numbers

{_numbers(result)}

## Citation

```bibtex
{CITATION}
```
"""


def _arithmetic(network: Network) -> str:
    mean, scale = network.mean, network.settings.dataset.scale
    if mean[0].numel() > 1:
        subtracted = "the mean image of the training set"
    else:
        subtracted = ", ".join(f"{value:g}" for value in dict.fromkeys(mean.flatten().tolist()))
        subtracted = f"{subtracted} (the mean{' of each channel' if ',' in subtracted else ''})"
    divided = "" if scale == 1 else f", and division by {scale:g},"
    return f"The subtraction of {subtracted}{divided}"


def _alignment(network: Network) -> str:
    if not network.takes_faces:
        return ""
    size = (network.image_shape[1], network.image_shape[2])
    said = f"\nFaces must be aligned as those of the training set, to {size[0]} x {size[1]} (rows x columns)"
    method = "none" if network.made is None else network.made["alignment"]["method"]
    if method == "none":
        return f"{said}; how those were is not known here."
    points = "\n".join(
        f"| {name} | {x:.4f} | {y:.4f} |" for name, (x, y) in zip(LANDMARKS, TEMPLATES[size].tolist(), strict=True)
    )
    how = f"by {method}{METHODS.get(method, '')}, to these points (pixels from 0, left as seen in the image)"
    return f"{said}: {how}:\n\n| | x | y |\n|---|---:|---:|\n{points}"


def _data(dataset: Any) -> str:
    parts = [f"Trained on {dataset.name}"]
    if getattr(dataset, "train_images", None):
        parts.append(f"{dataset.train_images:,} of its training images")
    if getattr(dataset, "classes", None):
        first, count = dataset.first_class, dataset.classes
        parts.append(f"its {count} classes from number {first} on" if first else f"its first {count} classes")
    augmented = "" if dataset.augment == "none" else f" Augmentation: {dataset.augment}."
    return ", ".join(parts) + "." + augmented


def _numbers(result: Mapping[str, Any]) -> str:
    rows = [(called, result[key]) for key, called in NUMBERS.items() if isinstance(result.get(key), int | float)]
    rows += _verified(result)
    if not rows:
        return "None: the run's result.json was not there."
    lines = [f"| {called} | {_number(value)} |" for called, value in rows]
    return "\n".join(["From the run's result.json.", "", "| | |", "|---|---:|", *lines])


def _verified(result: Mapping[str, Any]) -> list[tuple[str, float]]:
    """What the faces of people unseen were verified at; a damaged entry is left out."""
    found = result.get("verification")
    rows = []
    for name, numbers in found.items() if isinstance(found, dict) else ():
        for key, called in {"accuracy": "accuracy (%)", "eer": "equal error rate (%)"}.items():
            value = numbers.get(key) if isinstance(numbers, dict) else None
            if isinstance(value, int | float):
                rows.append((f"verification on {name}: {called}", 100.0 * value))
    return rows


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
