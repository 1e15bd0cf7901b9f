"""How things are timed here: side by side in one process, interleaved, medians; and what a piece of work allocates."""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import torch

from lsoftmax.engine.device import describe
from lsoftmax.engine.record import git_commit

Work = Callable[[], Any]
REPLAYS = 10
QUEUED = 50  # steps of a run between two logged ones
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def interleaved(works: Mapping[str, Work], seconds: float, least: int = 5, queued: int = 1) -> dict[str, float]:
    """Median seconds of a call of each, in turns, for about `seconds` in all; two turns before are not counted.

    queued: on a GPU a turn is so many calls, which are waited for together: there the host works ahead.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    calls = queued if DEVICE.type == "cuda" else 1
    start, turn = time.perf_counter(), 0
    while turn < least + 2 or time.perf_counter() - start < seconds:
        for name, work in works.items():
            before = time.perf_counter()
            for _ in range(calls):
                work()
            synchronize()
            times[name].append((time.perf_counter() - before) / calls)
        turn += 1
        if turn == 2:
            start = time.perf_counter()
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def synchronize() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def recorded(work: Work) -> Work:
    """REPLAYS replays of a CUDA graph of it: one alone may be shorter than what it takes to wait for it."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        work()

    def replay() -> None:
        for _ in range(REPLAYS):
            graph.replay()

    return replay


def same_threads() -> dict[str, str]:
    """The environment of a process that is to take as many threads as this one."""
    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}


def peak_bytes(work: Work, clear: Work, device: torch.device = DEVICE) -> int:
    """The most that `work` holds on the device at a time beyond what there was before it, as its allocator tells.

    clear: lets go of what an earlier call has left.
    """
    from torch.profiler import ProfilerActivity, profile

    work()
    clear()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    results = profiler.profiler.kineto_results
    changes = sorted((event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]")
    held = most = 0
    for _, change in changes:
        held += change
        most = max(most, held)
    return most


def origin(command: str) -> dict[str, Any]:
    """Where and with what numbers were made."""
    return {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": describe(torch.device("cpu")),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "threads": torch.get_num_threads(),
        "gpu": describe(DEVICE) if DEVICE.type == "cuda" else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "code": git_commit(),
        "platform": sys.platform,
    }
