"""A step's device work as a CUDA graph: hundreds of launches become one.

The kernels of these networks take a few microseconds each, about what the host needs to launch one. Recorded once, they
run without it. What was recorded is repeated to the letter, from and to the same addresses: what changes from step to
step must be a tensor that stays where it is, and numbers may change only with the key.
"""

import gc
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from lsoftmax.engine.device import is_memory_error
from lsoftmax.errors import UserError, first_line

Values = dict[str, Tensor]
Work = Callable[[int | Tensor, Tensor, Tensor, bool], Values]

WARM_UP = 3  # calls that are done as they are: the compiler, cuDNN's choice and the momentum come first


def can_record(device: torch.device) -> bool:
    """Whether the device has such graphs."""
    return device.type == "cuda"


class StepGraph:
    """Does a step's work on a GPU, from the fourth call on from a graph.

    Batches must not change their shape. The work must neither wait for the device nor put what the next call needs into
    new memory. It is given to each call and not kept: who holds this object would be held by it, and a graph that
    Python's collector destroys in the middle of a recording spoils that one.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._warm = 0
        self._inputs: tuple[Tensor, Tensor, Tensor] | None = None
        self._key: Hashable = None
        self._graphs: dict[bool, tuple[torch.cuda.CUDAGraph, Values]] = {}
        self._pool: Any = None  # of memory, which the graphs share: nothing in it is needed once a replay is over

    def __call__(self, work: Work, key: Hashable, step: int, images: Tensor, labels: Tensor, watched: bool) -> Values:
        """`work(step, images, labels, watched)`; what it returns is overwritten by the next call.

        key: stands for the numbers that it reads elsewhere; with another one it is recorded anew.
        """
        if self._warm < WARM_UP:
            self._warm += 1
            return self._beside(work, step, images, labels)
        if key != self._key:
            self._let_go()
            self._key = key
        inputs = self._take(step, images, labels)
        if watched not in self._graphs:
            self._graphs[watched] = self._record(work, inputs, watched)
        graph, values = self._graphs[watched]
        graph.replay()
        return values

    def forget(self) -> None:
        """To be called when tensors that the work reads or writes are replaced by others: it begins anew."""
        self._let_go()
        self._warm = 0

    def _let_go(self) -> None:
        self._graphs.clear()  # all of them: the end of one clears what others of its stream use (torch 2.13)
        self._pool = None

    def _beside(self, work: Work, step: int, images: Tensor, labels: Tensor) -> Values:
        """As it is, watched, so that all that is recorded has run before; on the stream that is recorded later, since
        autograd remembers streams."""
        here = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            values = work(step, images, labels, True)
        here.wait_stream(self._stream)
        return values

    def _take(self, step: int, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Into the memory that the graphs read."""
        if self._inputs is None:
            self._inputs = (torch.full((), float(step), device=self._device), images.clone(), labels.clone())
        else:
            number, held_images, held_labels = self._inputs
            number.fill_(float(step))
            held_images.copy_(images)
            held_labels.copy_(labels)
        return self._inputs

    def _record(
        self, work: Work, inputs: tuple[Tensor, Tensor, Tensor], watched: bool
    ) -> tuple[torch.cuda.CUDAGraph, Values]:
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph, here = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        # thread_local: threads that read images ahead may pin memory meanwhile.
        options: dict[str, Any] = {"pool": self._pool, "stream": self._stream, "capture_error_mode": "thread_local"}
        try:
            with torch.cuda.device(self._device), no_collector(), torch.cuda.graph(graph, **options):
                values = work(*inputs, watched)
        except RuntimeError as error:
            torch.cuda.set_stream(here)  # an end that fails leaves the other one
            cause = error
            while isinstance(cause.__context__, RuntimeError):  # the end says no more than that something was wrong
                cause = cause.__context__
            if is_memory_error(cause):
                raise cause from None
            raise UserError(
                f"trainer.cuda_graph=true does not work here ({first_line(cause)}); use trainer.cuda_graph=false"
            ) from error
        return graph, values


@contextmanager
def no_collector() -> Iterator[None]:
    """Python's collector runs before, and not within."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
