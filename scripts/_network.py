"""The trained network of a run, without its data set: what its images must look like is found in the weights."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import models
from assemble import build_network
from configs.schema import Settings
from configs.settings import of_run
from data import ImageSet
from data.faces.packed import PREPARATION
from data.faces.templates import TEMPLATES
from data.loader import normalize
from data.synthetic import KINDS, kind_like
from lsoftmax.engine.device import choose_device, set_determinism
from lsoftmax.engine.weights import load_into, read_weights
from lsoftmax.errors import UserError
from lsoftmax.losses import Criterion
from scripts._weights import weights_of

# (H, W) that a mean per channel leaves open; the first one that fits the weights.
SIZES = tuple(dict.fromkeys([*TEMPLATES, *(kind.shape[1:] for kind in KINDS.values())]))


@dataclass(frozen=True, eq=False)
class Network:
    """Backbone and criterion in evaluation mode on `device`, and how their images are prepared.

    mean: float32, (C, H, W) or (C, 1, 1), on the device.
    made: how the faces were prepared that it was trained on; None of other images, and of older runs.
    """

    settings: Settings
    image_shape: tuple[int, int, int]
    backbone: models.Backbone
    criterion: Criterion
    mean: Tensor
    device: torch.device
    made: dict[str, Any] | None = None

    @property
    def takes_faces(self) -> bool:
        """Colour images of a size to which faces are aligned."""
        return self.image_shape[0] == 3 and self.image_shape[1:] in TEMPLATES

    def prepare(self, images: Tensor) -> Tensor:
        """(N, C, H, W) uint8 -> what the backbone takes, on the device."""
        return normalize(images.to(self.device), self.mean, self.settings.dataset.scale)


def open_network(run: Path, overrides: Sequence[str] = ()) -> Network:
    """From a finished run's folder. ConfigError if it has not ended, UserError if its files do not fit each other."""
    settings = of_run(run, overrides)
    path = weights_of(run)
    tensors, metadata = read_weights(path)
    for name, dimensions in (("input.mean", 3), ("criterion.weight", 2)):
        if name not in tensors or tensors[name].ndim != dimensions:
            raise UserError(f"{path} lacks {name}: it was not written by train.py")
    device = choose_device(settings.device)
    set_determinism(True)
    shape = _image_shape(settings, tensors, metadata, path)
    num_classes = len(tensors["criterion.weight"])
    # No images: the network is made for their shape and the number of classes alone.
    images = ImageSet(torch.empty(0, *shape, dtype=torch.uint8), torch.empty(0, dtype=torch.int64), ("",) * num_classes)
    backbone, criterion = build_network(settings, images, device)
    for part, prefix in ((backbone, "backbone"), (criterion, "criterion")):
        module: nn.Module = part
        load_into(module, tensors, prefix, path)
        module.eval().requires_grad_(False)
    return Network(
        settings, shape, backbone, criterion, tensors["input.mean"].to(device), device, _made(metadata, path)
    )


def _made(metadata: dict[str, Any], path: Path) -> dict[str, Any] | None:
    made = metadata.get("preparation")
    if made is not None and not (isinstance(made, dict) and made.keys() >= PREPARATION):
        raise UserError(f"{path}: damaged, its metadata do not say how the faces were prepared")
    return made


def _image_shape(
    settings: Settings, tensors: dict[str, Tensor], metadata: dict[str, Any], path: Path
) -> tuple[int, int, int]:
    """(C, H, W) as the weights say; of older ones that of a mean image, else of the usual sizes the one that fits."""
    channels, height, width = tensors["input.mean"].shape
    said = metadata.get("image_shape")
    if said is not None:
        if not (isinstance(said, list) and len(said) == 3 and all(type(n) is int and n > 0 for n in said)):
            raise UserError(f"{path}: damaged, its metadata do not say how large the images were")
        if said[0] != channels or (max(height, width) > 1 and said[1:] != [height, width]):
            raise UserError(f"{path}: damaged, its mean image and the size of its images differ")
        return said[0], said[1], said[2]
    shapes = [(channels, height, width)] if max(height, width) > 1 else _usual(settings, channels)
    fc = tensors.get("backbone.fc.weight")
    for shape in shapes:
        if fc is None or _takes(settings, shape) == fc.shape:  # without fc: load_into names what is missing
            return shape
    tried = ", ".join(" x ".join(map(str, shape)) for shape in shapes)
    raise UserError(
        f"{path} does not fit the network of its config.yaml on images of {tried} (channels x rows x columns)"
    )


def _usual(settings: Settings, channels: int) -> list[tuple[int, int, int]]:
    """With model.input_size every size fits: that of the run's own data set comes first."""
    kind = kind_like(getattr(settings.dataset, "like", settings.dataset.name))
    own = [kind.shape] if kind is not None and kind.shape[0] == channels else []
    return own + [(channels, height, width) for height, width in SIZES]


def _takes(settings: Settings, shape: tuple[int, int, int]) -> torch.Size | None:
    """The shape of fc.weight for such images; None if they are too small. Nothing is drawn."""
    with torch.device("meta"):
        try:
            return models.build(image_shape=shape, **asdict(settings.model)).fc.weight.shape
        except ValueError:
            return None
