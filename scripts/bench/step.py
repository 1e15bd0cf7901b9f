"""The training step and what surrounds it: networks of Table 1 on real CIFAR10 images, as `train.py` runs them."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assemble import load_data
from configs.settings import ROOT, compose
from data import Splits
from lsoftmax.engine.signals import StopRequest
from scripts.bench.measure import DEVICE, QUEUED, interleaved, same_threads
from scripts.bench.runs import RUN, trainer_of

BATCH, EVALUATED = 256, 500  # images, the second configs/trainer/default.yaml's


def head_in_step(seconds: float) -> Iterator[dict[str, Any]]:
    """A whole CIFAR10 step of the fastest trainer, softmax against L-Softmax as the data set's default has it."""
    run = ["dataset=cifar10", "data_download=false", f"schedule.batch_size={BATCH}", "trainer=fast"]
    losses = {"softmax": ["loss=softmax"], "lsoftmax": ["loss.m=4"]}
    steps = {name: trainer_of([*run, *loss])._step for name, loss in losses.items()}
    median = interleaved(steps, seconds, queued=QUEUED)
    yield {
        "step": f"cifar10, batch {BATCH}, trainer=fast",
        "softmax s": round(median["softmax"], 4),
        "lsoftmax / softmax": round(median["lsoftmax"] / median["softmax"], 4),
        "target": 1.02,
    }


def data_path(seconds: float) -> Iterator[dict[str, Any]]:
    """Batches of the on-device loader with CIFAR10+'s augmentation, beside the fastest trainer's step at full width,
    and beside the usual DataLoader with transforms.
    """
    trainer = trainer_of(["dataset=cifar10+", "data_download=false", "loss.m=4", "trainer=fast"])
    usual = _usual_loader(_cifar10())
    step = iter(range(10**9))
    works: dict[str, Callable[[], Any]] = {
        "ours": lambda: trainer.loader.batch(next(step)),
        "DataLoader": lambda: next(usual),
        "training step": trainer._step,
    }
    median = interleaved(works, seconds, queued=QUEUED)
    yield {
        "ours images/s": round(BATCH / median["ours"]),
        "DataLoader images/s": round(BATCH / median["DataLoader"]),
        "training step s": round(median["training step"], 3),
        "ours, % of a step": round(100 * median["ours"] / median["training step"], 2),
        "target %": 3.0 if DEVICE.type == "cuda" else 0.5,
    }


def evaluation(seconds: float) -> Iterator[dict[str, Any]]:
    """A full pass over 10,000 test images, as a run makes it, beside the bare network's forward passes."""
    trainer, stop = trainer_of(RUN), StopRequest()
    images = torch.randn(EVALUATED, 3, 32, 32, device=DEVICE).contiguous(memory_format=torch.channels_last)

    def bare() -> None:
        trainer.backbone.eval()
        with torch.no_grad():
            for _ in range(10_000 // EVALUATED):
                trainer.backbone(images)

    median = interleaved({"bare": bare, "whole": lambda: trainer.evaluate("test", stop)}, seconds, least=3)
    yield {
        "network": "cifar10 x 0.25",
        "seconds": round(median["whole"], 3),
        "of the bare network": round(median["whole"] / median["bare"], 3),
    }


def start_up(seconds: float) -> Iterator[dict[str, Any]]:
    """`train.py` as a process of its own: warm files, no compile; what comes before and after the run itself."""
    times, inside = [], []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(4):
            command = ["train.py", "dataset=mnist5k", "schedule.steps=1", "schedule.lr.milestones=[]"]
            before = time.perf_counter()
            subprocess.run(
                [sys.executable, *command, f"run_dir={folder}/{turn}"],
                cwd=ROOT,
                check=True,
                capture_output=True,
                env=same_threads(),
            )
            times.append(time.perf_counter() - before)
            inside.append(json.loads((Path(folder) / str(turn) / "result.json").read_text())["seconds"])
    start = statistics.median(whole - run for whole, run in zip(times[1:], inside[1:], strict=True))
    yield {
        "start-up s": round(start, 2),
        "target": 6.0,
        "one step and two evaluations s": round(statistics.median(inside[1:]), 2),
    }


def _cifar10() -> Splits:
    return load_data(compose(["dataset=cifar10", "data_download=false"]))


def _usual_loader(splits: Splits) -> Iterator[Any]:
    """torch's DataLoader over PIL images, padded, cropped, mirrored and made tensors one by one, in this process."""
    import numpy as np
    from PIL import Image, ImageOps

    pixels = splits.train.images.permute(0, 2, 3, 1).contiguous().cpu().numpy()

    class Images(torch.utils.data.Dataset[tuple[Tensor, int]]):
        def __len__(self) -> int:
            return len(pixels)

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            image = ImageOps.expand(Image.fromarray(pixels[index]), 4)
            left, top, mirror = (int(torch.randint(0, n, ())) for n in (9, 9, 2))
            image = image.crop((left, top, left + 32, top + 32))
            if mirror:
                image = ImageOps.mirror(image)
            tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div_(255)
            return tensor, int(splits.train.labels[index])

    while True:
        yield from torch.utils.data.DataLoader(Images(), BATCH, shuffle=True, drop_last=True)
