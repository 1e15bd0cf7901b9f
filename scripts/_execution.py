"""How runs are executed where the command does not say: on a GPU fast, and several at once."""

import os
import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path

AT_ONCE = 3  # a step of these networks is many small kernels: one run leaves a large card waiting for its next one
CORES_EACH = 4  # of the processor, to launch them
BYTES_EACH = 12 << 30  # of the card's memory: CIFAR100 with 256 images a step, and what the compiler tries out
FACES = 15 << 30  # CASIA-WebFace, which each run that does not stream it puts on the card


def options(extra: Sequence[str], device_type: str) -> list[str]:
    """What goes to every run besides `extra`. On a CPU nothing: there a compiled step must be asked for."""
    if device_type != "cuda" or any(option.partition("=")[0] == "trainer" for option in extra):
        return []
    import torch

    if not torch.cuda.is_bf16_supported(including_emulation=False):
        return []  # there the fast trainer's bfloat16 would be the slower one
    compiler = any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang"))
    return ["trainer=fast"] if compiler and _python_headers() else ["trainer=fast", "trainer.compile=false"]


def _python_headers() -> bool:
    """Whether Python.h is here, which what launches a compiled kernel on a GPU includes."""
    return Path(sysconfig.get_path("include"), "Python.h").exists()


def cores() -> int:
    """Of the processor, as far as this process may use them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel(device_type: str, free_bytes: int, *, faces: bool = False) -> int:
    """So many runs at once, by what one needs of the machine. faces: some of them are of CASIA-WebFace."""
    if device_type != "cuda":
        return 1
    return max(1, min(AT_ONCE, cores() // CORES_EACH, free_bytes // (BYTES_EACH + faces * FACES)))
