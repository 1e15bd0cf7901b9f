"""Embeddings of images by the network of a run."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from configs.errors import ConfigError
from data.faces.decode import ImageError
from data.faces.files import listed
from lsoftmax.errors import UserError
from scripts._network import Network, open_network
from scripts._preparation import Preparation

Content = Callable[[int], bytes | np.ndarray]  # an encoded image, or (C, H, W) uint8 of a pack
MIRRORS = ("none", "sum", "concat")
REASONS = 5  # why images are wrong, of those that an error shows


class NetworkEmbedder:
    """A network, how its images are prepared, and what becomes of the mirror image's features: none, sum or concat.

    Images are mirrored as in training: after the mean, which may be an image too, is subtracted.
    """

    def __init__(self, network: Network, preparation: Preparation, *, mirror: str) -> None:
        if mirror not in MIRRORS:
            raise ConfigError(f"mirror must be one of {', '.join(MIRRORS)}, got {mirror!r}")
        self.network = network
        self.preparation = preparation
        self.mirror = mirror

    @property
    def warnings(self) -> list[str]:
        """What should be said of the images, in words."""
        return self.preparation.notes + self.preparation.remarks.said()

    @torch.inference_mode()
    def __call__(self, count: int, content: Content, name: Callable[[int], str]) -> Tensor:
        """(count, D) float32 on the CPU; content(i) is the i-th image. UserError that lists the wrong ones."""
        backbone, parts = self.network.backbone, []
        with tqdm(total=count, desc="embedding", unit="image", disable=not sys.stderr.isatty()) as bar:
            for batch in self._batches(count, content, name):
                pixels = self.network.prepare(batch)
                features = backbone(pixels)
                if self.mirror != "none":
                    mirrored = backbone(pixels.flip(3))
                    features = features + mirrored if self.mirror == "sum" else torch.cat([features, mirrored], dim=1)
                parts.append(features.cpu())
                bar.update(len(features))
        return torch.cat(parts)

    def _batches(self, count: int, content: Content, name: Callable[[int], str]) -> Iterator[Tensor]:
        """(B, C, H, W) uint8. After a wrong image the rest is only looked at, so that one error lists them all."""
        size = self.network.settings.trainer.eval_batch_size
        wrong: dict[str, list[str]] = {}  # what is wrong -> with which
        for start in range(0, count, size):
            images = torch.empty(min(size, count - start), *self.network.image_shape, dtype=torch.uint8)
            for row in range(len(images)):
                try:
                    images[row] = torch.tensor(self.preparation(content(start + row)))
                except ImageError as error:
                    wrong.setdefault(str(error), []).append(name(start + row))
            if not wrong:
                yield images
        if wrong:
            raise UserError(_summary(wrong, count))


def read_image(path: Path) -> bytes:
    """Its content, encoded. ImageError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror})") from error


def _summary(wrong: dict[str, list[str]], count: int) -> str:
    """One line, however many images are wrong in however many ways."""
    number = sum(map(len, wrong.values()))
    if number == 1:
        [(reason, [name])] = wrong.items()
        return f"{name}: {reason}"
    most = sorted(wrong.items(), key=lambda item: -len(item[1]))
    ways = [f"{reason}: {listed(names)}" for reason, names in most[:REASONS]]
    more = f"; and {len(most) - REASONS} other reasons" if len(most) > REASONS else ""
    return f"{number:,} of {count:,} images are wrong: {'; '.join(ways)}{more}"


class Embedder(NetworkEmbedder):
    """The network of a face run; images of any size are scaled to its own, with a remark.

    made: of images from a pack, how they were prepared.
    """

    def __init__(
        self, run: Path, overrides: Sequence[str], *, mirror: str, align: str, made: dict[str, Any] | None = None
    ) -> None:
        network = open_network(run, overrides)
        if not network.takes_faces:
            channels, *size = network.image_shape
            shape = f"{size[0]} x {size[1]} pixels and {channels} channel{'s' * (channels > 1)}"
            raise UserError(f"the run in {run} is for images of {shape}: no network for faces in colour")
        super().__init__(network, Preparation(network, align=align, resize=True, made=made), mirror=mirror)
