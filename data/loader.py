"""Batches of a set that lies on the device as a whole, as bytes; and what all loaders have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import get_args

import torch
from torch import Tensor

from .augment import Augmentation, augment
from .mixing import generator_seed, key_of
from .sets import ImageSet


class Loader(ABC):
    """Endless training batches; `batch(step)` is a function of the seed and the step alone.

    So a run goes on at any step without a state to restore. Every batch is full: batches run on across the end of an
    epoch, and a batch larger than the set spans several. The order of an epoch is a function of (seed, epoch), what
    the augmentation draws one of (seed, step). Where the images come from makes no difference to a batch.
    """

    def __init__(
        self,
        image_set: ImageSet,
        batch_size: int,
        *,
        seed: int,
        augment: Augmentation = "none",
        mean: Tensor,
        scale: float = 1.0,
        device: torch.device | str = "cpu",
    ) -> None:
        """mean: float32, broadcast over (C, H, W), see `training_mean`. scale: what the difference is divided by."""
        assert len(image_set) >= 1 and batch_size >= 1 and augment in get_args(Augmentation)
        self.batch_size = batch_size
        self._size = len(image_set)
        self._augmentation: Augmentation = augment
        self._device = torch.device(device)
        self._mean = mean.to(self._device)
        self._scale = scale
        self._order_key = key_of("order", seed)
        self._augment_key = key_of("augment", seed)
        self._orders: dict[int, Tensor] = {}  # of the epochs that the last batch touched

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        step = 0
        while True:
            yield self.batch(step)
            step += 1

    def epoch(self, step: int) -> float:
        """How many times the set has been seen before the batch of this step."""
        return step * self.batch_size / self._size

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) float32 images, (B,) int64 labels, both on the device."""
        pixels, labels = self._take(step)
        images = normalize(pixels, self._mean, self._scale)
        if self._augmentation != "none":
            generator = torch.Generator(self._device).manual_seed(generator_seed(self._augment_key, step))
            images = augment(images, self._augmentation, generator)
        return images, labels

    @abstractmethod
    def _take(self, step: int) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) uint8 images and (B,) labels at `_indices(step)`, on the device."""

    def _indices(self, step: int) -> Tensor:
        """(B,) positions in the set: a window of the orders of all epochs, one behind the other."""
        size = self._size
        start, stop = step * self.batch_size, (step + 1) * self.batch_size
        epochs = range(start // size, (stop - 1) // size + 1)
        self._orders = {e: self._orders[e] if e in self._orders else self._order(e) for e in epochs}
        pieces = [order[max(start - e * size, 0) : stop - e * size] for e, order in self._orders.items()]
        return torch.cat(pieces)

    def _order(self, epoch: int) -> Tensor:
        """(N,) a permutation; drawn on the CPU, so that every device sees the same one."""
        generator = torch.Generator().manual_seed(generator_seed(self._order_key, epoch))
        return torch.randperm(self._size, generator=generator)


class DeviceLoader(Loader):
    """Training batches of a set that lies on the device: nothing is copied there afterwards but orders."""

    def __init__(self, image_set: ImageSet, batch_size: int, **options: object) -> None:
        """options: see Loader."""
        super().__init__(image_set, batch_size, **options)  # type: ignore[arg-type]
        # uint8 on the device: a quarter of the memory.
        self._images = image_set.images.to(self._device)
        self._labels = image_set.labels.to(self._device)

    def _take(self, step: int) -> tuple[Tensor, Tensor]:
        indices = self._indices(step)
        return self._images.index_select(0, indices), self._labels.index_select(0, indices)

    def _order(self, epoch: int) -> Tensor:
        order = super()._order(epoch)
        if self._device.type != "cuda":
            return order.to(self._device)
        return order.pin_memory().to(self._device, non_blocking=True)  # else the host would wait for the step under way


def in_order(
    image_set: ImageSet,
    batch_size: int,
    *,
    mean: Tensor,
    scale: float = 1.0,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[Tensor, Tensor]]:
    """Every image once, as it is and in the order of the set, for evaluation; the last batch may be short."""
    # Moved in one piece: a copy per batch would make the host wait for each of them.
    images, labels, mean = image_set.images.to(device), image_set.labels.to(device), mean.to(device)
    for start in range(0, len(labels), batch_size):
        yield normalize(images[start : start + batch_size], mean, scale), labels[start : start + batch_size]


def normalize(images: Tensor, mean: Tensor, scale: float) -> Tensor:
    """(images - mean) / scale as float32, of uint8 images."""
    # In place on the fresh copy; torch.sub of bytes and floats is six times slower on a CPU.
    shifted = images.float().sub_(mean)
    return shifted if scale == 1.0 else shifted.div_(scale)
