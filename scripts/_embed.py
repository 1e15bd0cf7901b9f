"""Embeddings of face images by the network of a run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

import models
from configs.errors import ConfigError
from configs.schema import Settings
from configs.settings import from_file
from data.faces.crop import Crop, Remarks
from data.faces.decode import ImageError
from data.faces.templates import TEMPLATES
from data.loader import normalize
from lsoftmax.engine.device import choose_device, set_determinism
from lsoftmax.engine.weights import load_into, read_weights
from lsoftmax.errors import UserError

MIRRORS = ("none", "sum", "concat")


class Embedder:
    """The backbone of a run, in evaluation mode on its device, and how its images are prepared."""

    def __init__(self, run: Path, overrides: Sequence[str], *, mirror: str, align: str) -> None:
        if mirror not in MIRRORS:
            raise ConfigError(f"mirror must be one of {', '.join(MIRRORS)}, got {mirror!r}")
        if align not in ("none", "fixed"):
            raise ConfigError(f"align must be none (aligned images) or fixed (250 x 250, one cut), got {align!r}")
        self.settings = from_file(run / "config.yaml", overrides)
        path = run / "model.safetensors"
        if not path.exists():
            raise ConfigError(
                f"the run in {run} has no weights: it has not ended, or it diverged (see its result.json)"
            )
        self.device = choose_device(self.settings.device)
        set_determinism(True)
        tensors, _ = read_weights(path)
        self.backbone, self.size = _backbone(self.settings, tensors, path)
        self.backbone.to(self.device).eval()
        self.mean = tensors["input.mean"].to(self.device)
        self.crop = Crop(size=self.size, align=align)  # type: ignore[arg-type]
        self.mirror = mirror
        self.remarks = Remarks()

    @torch.inference_mode()
    def __call__(
        self, count: int, content: Callable[[int], bytes], name: Callable[[int], str], done: Callable[[int], object]
    ) -> Tensor:
        """(count, D) float32 on the CPU; content(i) is the i-th encoded image. UserError that names an unreadable one.

        `done` is called with the number of images embedded so far, after each batch.
        """
        parts = []
        for batch in self._batches(count, content, name):
            pixels = normalize(batch.to(self.device), self.mean, self.settings.dataset.scale)
            features = self.backbone(pixels)
            if self.mirror != "none":
                mirrored = self.backbone(pixels.flip(3))
                features = features + mirrored if self.mirror == "sum" else torch.cat([features, mirrored], dim=1)
            parts.append(features.cpu())
            done(sum(map(len, parts)))
        return torch.cat(parts)

    def _batches(self, count: int, content: Callable[[int], bytes], name: Callable[[int], str]) -> Iterator[Tensor]:
        """(B, 3, H, W) uint8."""
        size = self.settings.trainer.eval_batch_size
        for start in range(0, count, size):
            images = torch.empty(min(size, count - start), *self.size, 3, dtype=torch.uint8)
            for row in range(len(images)):
                try:
                    images[row] = torch.tensor(self.crop(content(start + row), remarks=self.remarks))
                except ImageError as error:
                    raise UserError(f"{name(start + row)}: {error}") from error
            yield images.permute(0, 3, 1, 2)


def _backbone(settings: Settings, tensors: dict[str, Tensor], path: Path) -> tuple[models.Backbone, tuple[int, int]]:
    """The network with its weights, and the (H, W) of its crops: of the two usual sizes the one that fits."""
    mean = tensors.get("input.mean")
    if mean is None or mean.ndim != 3:
        raise UserError(f"{path} lacks input.mean: it was not written by train.py")
    if mean.shape[0] != 3:
        raise UserError(f"{path} belongs to images of {mean.shape[0]} channel(s): no network for faces in colour")
    for size in TEMPLATES:
        if any(have not in (1, wanted) for have, wanted in zip(mean.shape[1:], size, strict=True)):
            continue
        try:
            backbone = models.build(image_shape=(3, *size), **asdict(settings.model))
        except ValueError as error:
            raise UserError(f"model: {error}") from error
        fc = tensors.get("backbone.fc.weight")
        if fc is None or fc.shape == backbone.fc.weight.shape:
            load_into(backbone, tensors, "backbone", path)
            return backbone, size
    sizes = " or ".join(f"{height} x {width}" for height, width in TEMPLATES)
    raise UserError(f"{path} is for other images than faces of {sizes} (mean {tuple(mean.shape)})")
