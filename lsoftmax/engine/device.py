"""The device a run uses, and what makes its numbers repeatable."""

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lsoftmax.errors import UserError, first_line

# What torch's RuntimeError says when memory is short on a CPU, when the bytes asked for cannot even be counted, and
# when a card has none left for a context, for pinned pages or for cuBLAS.
NO_MEMORY = (
    "can't allocate memory",
    "Storage size calculation overflowed",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
TRAINABLE = ("cpu", "cuda", "mps", "xpu")

# Without it deterministic matmuls are an error on a GPU. torch looks once, at the first matmul of the process, which
# may come before anyone asks for determinism.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def choose_device(name: str) -> torch.device:
    """auto is cuda where there is one, else cpu. UserError for a device that is not here: never a silent CPU run."""
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        if device.type not in TRAINABLE or (device.type == "cpu" and device.index):
            raise RuntimeError("no device to train on")
        torch.empty(1, device=device)  # of nothing a card would not be asked
    except (RuntimeError, AssertionError, ImportError) as error:
        remedy = "choose device=cpu" if name == "auto" else "choose device=cpu or device=auto"
        raise UserError(f"device={name} cannot be used here ({first_line(error)}); {remedy}") from error
    return device


def set_determinism(deterministic: bool) -> None:
    """Same bits from the same command on the same machine and versions; float32 means float32, not TF32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic)
    # Filling every empty tensor would cost time; nothing here reads memory that it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def keep_freed_memory() -> None:
    """Let this process keep what its tensors free, where the C library is glibc; elsewhere nothing happens.

    glibc returns large blocks at once, and every step of a training run asks for the same ones again: the kernel would
    clear them page by page, a tenth of a small network's step on a CPU.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of <malloc.h>
        mallopt(trim_threshold, -1)  # never shrink the heap
        mallopt(mmap_max, 0)  # and take everything from it


def free_bytes(device: torch.device) -> int:
    """Memory that the device could give to data."""
    if device.type == "cuda":
        kept_by_torch = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # of earlier tensors
        return torch.cuda.mem_get_info(device)[0] + kept_by_torch
    try:
        with open("/proc/meminfo") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextmanager
def memory_errors() -> Iterator[None]:
    """UserError that names what to lower, if memory is short within."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_error(error):
            raise
        lower = "lower schedule.batch_size, model.width or trainer.eval_batch_size"
        raise UserError(f"not enough memory; {lower}, or take fewer images") from error


def is_memory_error(error: BaseException) -> bool:
    """Whether memory was short, of the machine or of a card."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in NO_MEMORY)


def describe(device: torch.device) -> str:
    """The card's name, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
