"""A step's device work as a CUDA graph: hundreds of launches become one.

The kernels of these networks take a few microseconds each, about what the host needs to launch one. Recorded once, they
run without it. What was recorded is repeated to the letter, from and to the same addresses: what changes from step to
step must be a tensor that stays where it is, and numbers may change only with the key.
"""

from collections.abc import Callable, Hashable

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
    """Does `work(step, images, labels, watched)`, from the fourth call on from a graph.

    Batches must not change their shape; `work` must neither wait for the device nor put what the next call needs into
    new memory. The values returned are overwritten by the next call.
    """

    def __init__(self, work: Work, device: torch.device) -> None:
        self._work, self._device = work, device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._warm = 0
        self._inputs: tuple[Tensor, Tensor, Tensor] | None = None
        self._key: Hashable = None
        self._graphs: dict[bool, tuple[torch.cuda.CUDAGraph, Values]] = {}

    def __call__(self, key: Hashable, step: int, images: Tensor, labels: Tensor, watched: bool) -> Values:
        """key: stands for the numbers that `work` reads elsewhere; with another one it is recorded anew."""
        if self._warm < WARM_UP:
            self._warm += 1
            return self._beside(step, images, labels, watched)
        if key != self._key:
            self.forget()
            self._key = key
        self._take(step, images, labels)
        if watched not in self._graphs:
            self._graphs[watched] = self._record(watched)
        graph, values = self._graphs[watched]
        graph.replay()
        return values

    def forget(self) -> None:
        """To be called when tensors that `work` reads or writes are replaced by others."""
        self._graphs.clear()

    def _beside(self, step: int, images: Tensor, labels: Tensor, watched: bool) -> Values:
        """As it is, but on the stream that is recorded later: autograd remembers streams."""
        here = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            values = self._work(step, images, labels, watched)
        here.wait_stream(self._stream)
        return values

    def _take(self, step: int, images: Tensor, labels: Tensor) -> None:
        """Into the memory that the graphs read."""
        if self._inputs is None:
            self._inputs = (torch.full((), float(step), device=self._device), images.clone(), labels.clone())
            return
        number, held_images, held_labels = self._inputs
        number.fill_(float(step))
        held_images.copy_(images)
        held_labels.copy_(labels)

    def _record(self, watched: bool) -> tuple[torch.cuda.CUDAGraph, Values]:
        assert self._inputs is not None
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                values = self._work(*self._inputs, watched)
        except RuntimeError as error:
            if is_memory_error(error):
                raise
            raise UserError(
                f"trainer.cuda_graph=true does not work here ({first_line(error)}); use trainer.cuda_graph=false"
            ) from error
        return graph, values
