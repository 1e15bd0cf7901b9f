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
        self._memory = _Memory(AHEAD + 1, image_set.image_shape, self._device)
        self._threads = ThreadPoolExecutor(AHEAD, thread_name_prefix="read-ahead")
        self._reading: deque[tuple[int, Future[Batch]]] = deque()  # of consecutive steps

    def _take(self, step: int) -> Batch:
        while self._reading and self._reading[0][0] != step:
            unwanted = self._reading.popleft()[1]
            if not unwanted.cancel():
                unwanted.result()  # it has begun, and its memory is the next one's
        following = self._reading[-1][0] + 1 if self._reading else step
        for coming in range(following, step + AHEAD + 1):
            positions = self._indices(coming)  # here: the cache of orders is not made for threads
            target = self._memory.piece(coming, len(positions))
            self._reading.append((coming, self._threads.submit(_read, self._set, positions, target)))
        return _to(self._device, self._reading.popleft()[1].result())


def stream_in_order(
    image_set: MappedSet,
    batch_size: int,
    *,
    mean: Tensor,
    scale: float = 1.0,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[Tensor, Tensor]]:
    """`in_order` of a set in a file, one batch read ahead."""
    mean, memory = mean.to(device), _Memory(2, image_set.image_shape, torch.device(device))
    windows = torch.split(torch.arange(len(image_set)), batch_size)
    with ThreadPoolExecutor(1) as thread:
        ahead = thread.submit(_read, image_set, windows[0], memory.piece(0, len(windows[0])))
        for position in range(len(windows)):
            batch = ahead.result()
            if position + 1 < len(windows):
                window = windows[position + 1]
                ahead = thread.submit(_read, image_set, window, memory.piece(position + 1, len(window)))
            images, labels = _to(device, batch)
            yield normalize(images, mean, scale), labels


class _Memory:
    """What images are read to: a ring of pieces, each used again when its turn comes round.

    Allocated anew for every batch they would lie between small tensors that last, in gaps that fit no other batch: the
    process grew by a batch at every step. For a GPU the memory is page-locked and torch's own, which lends it again
    when the copy from it is done.
    """

    def __init__(self, pieces: int, image_shape: tuple[int, int, int], device: torch.device) -> None:
        self._pieces: list[Tensor | None] = [None] * pieces
        self._shape, self._pinned = image_shape, device.type == "cuda"

    def piece(self, turn: int, count: int) -> Tensor:
        """(count, C, H, W) uint8; what was read at turn - pieces must have been used up."""
        if self._pinned:
            return torch.empty((count, *self._shape), dtype=torch.uint8, pin_memory=True)
        place = turn % len(self._pieces)
        piece = self._pieces[place]
        if piece is None or len(piece) < count:
            piece = self._pieces[place] = torch.empty((count, *self._shape), dtype=torch.uint8)
        return piece[:count]


def _read(image_set: MappedSet, positions: Tensor, target: Tensor) -> Batch:
    labels = image_set.labels[positions]
    return image_set.gather(positions, target), labels.pin_memory() if target.is_pinned() else labels


def _to(device: torch.device | str, batch: Batch) -> Batch:
    """From page-locked memory the copy waits its turn on the device, not here."""
    images, labels = batch
    pinned = images.is_pinned()
    return images.to(device, non_blocking=pinned), labels.to(device, non_blocking=pinned)
