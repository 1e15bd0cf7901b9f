"""The two floors under a training step: its operations over a matmul's rate, its bytes over a copy's bandwidth."""

import time
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import torch

import models
from scripts.bench.measure import DEVICE, QUEUED, interleaved, synchronize
from scripts.bench.runs import BEFORE_RECORDED, trainer_of

BATCH = 256
TARGETS = {"mnist": 20, "cifar10": 40, "cifar100": 120}  # seconds of 18,000 steps on an H200
ACROSS = 3  # multiply-adds of a step over the forward pass's: gradients of inputs and of weights take as many each
# How often a step reads or writes a unit's output (convolution, normalisation, activation), if each kernel that needs
# all of it takes it once. Forward: written by the convolution, read for the statistics, read and written normalised,
# read by the next unit: 5. Backward: gradient and saved values read for the statistics (2), read again and the gradient
# written (3), which the two convolutions read (2) beside the input (1), and whose result is written (1): 9.
PASSES = 14


def floors(seconds: float) -> Iterator[dict[str, Any]]:
    """A step of 256 by `trainer=fast` beside its floors: operations at a matmul's rate, bytes at a copy's bandwidth."""
    rate, bandwidth = _matmul_rate(seconds), _bandwidth(seconds)
    on_gpu = DEVICE.type == "cuda"
    for name, recorded in product(TARGETS, (False, True) if on_gpu else (False,)):
        data = [f"dataset={name}", "data_download=false", "dataset.check_integrity=false"]
        trainer = trainer_of([*data, "loss.m=4", "trainer=fast", f"trainer.cuda_graph={str(recorded).lower()}"])
        shape = trainer.loader.batch(0)[0].shape[1:]
        network = models.build(name, tuple(shape))
        operations = 2 * ACROSS * BATCH * models.multiply_adds(network, shape)
        moved = PASSES * BATCH * models.output_values(network, shape) * 2  # bytes of a bfloat16
        before = time.perf_counter()
        trainer._step()
        synchronize()
        first = time.perf_counter() - before
        for _ in range(BEFORE_RECORDED if recorded else 0):
            trainer._step()
        step = interleaved({"step": trainer._step}, seconds, least=3, queued=QUEUED)["step"]
        yield {
            "network": f"{name}, recorded" if recorded else name,
            "step ms": round(1000 * step, 2),
            "first step s": round(first, 1),
            "operations, floor ms": round(1000 * operations / rate, 2),
            "bytes, floor ms": round(1000 * moved / bandwidth, 2),
            "of the higher floor": round(max(operations / rate, moved / bandwidth) / step, 3),
            "matmul TFLOP/s": round(rate / 1e12, 3),
            "copy GB/s": round(bandwidth / 1e9, 1),
            **({"18,000 steps s": round(18_000 * step, 1), "target s": TARGETS[name]} if on_gpu else {}),
        }


def _matmul_rate(seconds: float) -> float:
    """Operations a second of a square bfloat16 matmul."""
    size = 8192 if DEVICE.type == "cuda" else 2048
    one, other = (torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    median = interleaved({"matmul": partial(torch.mm, one, other)}, min(seconds, 3))["matmul"]
    return 2 * size**3 / median


def _bandwidth(seconds: float) -> float:
    """Bytes a second that a copy reads and writes."""
    size = 2**32 if DEVICE.type == "cuda" else 2**28  # large beside what launching the copy takes
    source = torch.zeros(size, device=DEVICE, dtype=torch.uint8)
    goal = torch.empty_like(source)
    median = interleaved({"copy": partial(goal.copy_, source)}, min(seconds, 3))["copy"]
    return 2 * source.numel() / median
