"""Where the time of a step goes, as torch's profiler tells."""

import time
from collections.abc import Iterator
from typing import Any

from lsoftmax.engine.trainer import Trainer
from scripts.bench.measure import DEVICE, synchronize
from scripts.bench.runs import FAST, trainer_of

STEPS = 10
KINDS = {  # an operator is of the first kind that has a word of its name; the compiler's are named after what they fuse
    "the compiler's kernels": ("compiledfxgraph", "triton"),
    "convolutions": ("conv", "implicit_gemm", "fprop", "dgrad", "wgrad"),
    "matrix products": ("mm", "nvjet"),  # cuBLAS on a Hopper
}
OTHER = "the rest"


def breakdown(seconds: float) -> Iterator[dict[str, Any]]:
    """The fastest trainer's step of 128 on CIFAR10 by kind of operator, a quarter wide and whole."""
    from torch.profiler import ProfilerActivity, profile

    for width in (0.25, 1.0):
        trainer = trainer_of(["dataset=cifar10", "data_download=false", f"model.width={width}", *FAST])
        for _ in range(3):
            trainer._step()
        wall = _wall_time(trainer)
        activity = ProfilerActivity.CUDA if DEVICE.type == "cuda" else ProfilerActivity.CPU
        with profile(activities=[activity]) as profiler:
            for _ in range(STEPS):
                trainer._step()
            synchronize()
        spent = dict.fromkeys([*KINDS, OTHER], 0.0)
        for event in profiler.key_averages():
            if DEVICE.type == "cuda" and event.is_user_annotation:
                continue  # on the device it spans kernels that are counted by themselves
            spent[_kind(event.key)] += _microseconds(event)
        total = sum(spent.values())
        yield {
            "network": f"cifar10 x {width:g}, batch 128",
            "step ms": round(1000 * wall, 1),
            "of it in operators ms": round(total / STEPS / 1000, 1),
            **{f"{kind}, %": round(100 * time / total, 1) for kind, time in spent.items()},
        }


def _wall_time(trainer: Trainer) -> float:
    """Seconds of a step without the profiler."""
    synchronize()
    before = time.perf_counter()
    for _ in range(STEPS):
        trainer._step()
    synchronize()
    return (time.perf_counter() - before) / STEPS


def _kind(name: str) -> str:
    words = ((kind, word) for kind, several in KINDS.items() for word in several)
    return next((kind for kind, word in words if word in name.lower()), OTHER)


def _microseconds(event: Any) -> float:
    return float(event.self_device_time_total if DEVICE.type == "cuda" else event.self_cpu_time_total)
