"""An image set that stays in its file: only the rows that are asked for are read."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .sets import CHUNK, ImageSet


class MappedSet(ImageSet):
    """Rows of an array that is mapped into memory, as an ImageSet; a subset is another list of rows.

    `images` reads them all, which `chunks` and `gather` do not.
    """

    def __init__(self, source: np.ndarray, rows: Tensor, labels: Tensor, class_names: tuple[str, ...]) -> None:
        """source: (M, C, H, W) uint8, contiguous. rows: (N,) int64, the images of this set. labels: (N,) int64."""
        assert source.dtype == np.uint8 and source.ndim == 4 and rows.shape == labels.shape
        for name, value in (("source", source), ("rows", rows), ("labels", labels), ("class_names", class_names)):
            object.__setattr__(self, name, value)  # frozen, as its parent is

    source: np.ndarray
    rows: Tensor

    @property
    def images(self) -> Tensor:
        return self.gather(torch.arange(len(self)))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.source.shape[1:]
        return channels, height, width

    @property
    def nbytes(self) -> int:
        """Of the images."""
        return len(self) * int(np.prod(self.image_shape))

    def gather(self, positions: Tensor, out: Tensor | None = None) -> Tensor:
        """(K, C, H, W) uint8, the images at `positions` (K,) of this set; in `out` if it is given."""
        images = torch.empty((len(positions), *self.image_shape), dtype=torch.uint8) if out is None else out
        # Straight into place, and without the interpreter's lock; "clip" as "raise" would go through a second copy.
        np.take(self.source, self.rows[positions].numpy(), axis=0, out=images.numpy(), mode="clip")
        return images

    def to(self, device: torch.device | str) -> ImageSet:
        """Read from end to end, on the device."""
        images = torch.empty((len(self), *self.image_shape), dtype=torch.uint8, device=device)
        for target, chunk in zip(torch.split(images, CHUNK), self.chunks(), strict=True):
            target.copy_(chunk)
        return ImageSet(images, self.labels.to(device), self.class_names)

    def subset(self, indices: Tensor) -> "MappedSet":
        return MappedSet(self.source, self.rows[indices], self.labels[indices], self.class_names)

    def relabelled(self, labels: Tensor, class_names: tuple[str, ...]) -> "MappedSet":
        return MappedSet(self.source, self.rows, labels, class_names)

    def chunks(self, size: int = CHUNK) -> Iterator[Tensor]:
        for positions in torch.split(torch.arange(len(self)), size):
            yield self.gather(positions)
