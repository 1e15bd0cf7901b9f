"""Batches of a set that does not fit on the device: read from its file while the steps before are computed."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from .loader import Loader, normalize
from .mapped import MappedSet

AHEAD = 4  # batches that are read before they are asked for, each by a thread: a disk answers several at once

Batch = tuple[Tensor, Tensor]  # (B, C, H, W) uint8 images, (B,) int64 labels


class StreamLoader(Loader):
    """The batches of DeviceLoader, bit for bit, of a set in a file.

    Steps are expected one after the other; another step is as right, but has to be waited for.
    """

    def __init__(self, image_set: MappedSet, batch_size: int, **options: object) -> None:
        """options: see Loader."""
        super().__init__(image_set, batch_size, **options)  # type: ignore[arg-type]
        self._set = image_set
        self._threads = ThreadPoolExecutor(AHEAD, thread_name_prefix="read-ahead")
        self._reading: deque[tuple[int, Future[Batch]]] = deque()  # of consecutive steps

    def _take(self, step: int) -> Batch:
        while self._reading and self._reading[0][0] != step:
            self._reading.popleft()[1].cancel()
        following = self._reading[-1][0] + 1 if self._reading else step
        for coming in range(following, step + AHEAD + 1):
            positions = self._indices(coming)  # here: the cache of orders is not made for threads
            self._reading.append((coming, self._threads.submit(_read, self._set, positions, self._pinned)))
        images, labels = self._reading.popleft()[1].result()
        # From page-locked memory the copy waits its turn on the device, not here; torch's allocator gives the memory
        # out again only when the copy is done.
        return tuple(part.to(self._device, non_blocking=self._pinned) for part in (images, labels))  # type: ignore[return-value]

    @property
    def _pinned(self) -> bool:
        return self._device.type == "cuda"


def stream_in_order(
    image_set: MappedSet,
    batch_size: int,
    *,
    mean: Tensor,
    scale: float = 1.0,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[Tensor, Tensor]]:
    """`in_order` of a set in a file, one batch read ahead."""
    mean, pinned = mean.to(device), torch.device(device).type == "cuda"
    windows = torch.split(torch.arange(len(image_set)), batch_size)
    with ThreadPoolExecutor(1) as thread:
        ahead = thread.submit(_read, image_set, windows[0], pinned)
        for position in range(len(windows)):
            images, labels = ahead.result()
            if position + 1 < len(windows):
                ahead = thread.submit(_read, image_set, windows[position + 1], pinned)
            on_device = images.to(device, non_blocking=pinned)
            yield normalize(on_device, mean, scale), labels.to(device, non_blocking=pinned)


def _read(image_set: MappedSet, positions: Tensor, pinned: bool) -> Batch:
    labels = image_set.labels[positions]
    return image_set.gather(positions, pinned=pinned), labels.pin_memory() if pinned else labels
