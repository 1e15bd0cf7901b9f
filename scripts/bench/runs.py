"""A trainer as `train.py` makes it, and what a run costs beside its bare step."""

import json
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from assemble import load_data, make_trainer
from configs.settings import compose
from data import training_mean
from data.faces.crop import Crop
from data.faces.packed import FORMAT
from lsoftmax.engine.device import choose_device, keep_freed_memory, set_determinism
from lsoftmax.engine.graph import WARM_UP
from lsoftmax.engine.log import RunLog
from lsoftmax.engine.signals import StopRequest
from lsoftmax.engine.trainer import Trainer
from scripts.bench.measure import DEVICE, QUEUED, interleaved, synchronize

BLOCK = 50  # steps: one logged step in each
FEW = 10  # the same of a larger network
STEPS, EVALUATIONS = 18_000, 20  # of a whole run: the paper's steps, the trainer's default
FAST = ["loss.m=4", "schedule.batch_size=128", "trainer=fast"]
FAST += ["trainer.eval_every=1000000", "trainer.checkpoint_every=1000000"]
RUN = ["dataset=cifar10", "data_download=false", "model.width=0.25", f"trainer.log_every={BLOCK}", *FAST]
FACES = ["dataset=webface", "dataset.stream=true", "model=face_narrow", f"trainer.log_every={FEW}", *FAST]
FACES += ["schedule.lr.base=0.001"]  # on noise larger steps leave the finite numbers


def trainer_of(overrides: list[str]) -> Trainer:
    """At step 0; it writes no checkpoint unless it is told to."""
    settings = compose(overrides)
    device = choose_device(settings.device)
    keep_freed_memory()
    set_determinism(settings.trainer.deterministic)
    splits = load_data(settings)
    mean = training_mean(splits.train.chunks(), settings.dataset.mean)
    return make_trainer(settings, splits, mean, device, Path("never written"))


SETTINGS = {  # of the trainer, each with what the one before it has
    "default": [],
    "not deterministic": ["trainer.deterministic=false"],
    "channels last": ["trainer.deterministic=false", "trainer.channels_last=true"],
    "bf16": ["trainer.deterministic=false", "trainer.channels_last=true", "trainer.precision=bf16"],
    "compiled (trainer=fast)": ["trainer=fast"],
}
if DEVICE.type == "cuda":
    SETTINGS["recorded (trainer=fast trainer.cuda_graph=true)"] = ["trainer=fast", "trainer.cuda_graph=true"]
BEFORE_RECORDED = 2 * WARM_UP + BLOCK  # steps: both graphs, with the instruments and without, are there then


def trainer_settings(seconds: float) -> Iterator[dict[str, Any]]:
    """A CIFAR10 step of 256 at full width by setting of the trainer, interleaved; the first step compiles."""
    trainers, first = {}, {}
    for name, overrides in SETTINGS.items():
        trainers[name] = trainer_of(["dataset=cifar10", "data_download=false", "loss.m=4", *overrides])
        before = time.perf_counter()
        trainers[name]._step()
        synchronize()
        first[name] = time.perf_counter() - before
        if trainers[name].graph is not None:
            for _ in range(BEFORE_RECORDED):
                trainers[name]._step()

    def step(name: str) -> None:
        set_determinism(trainers[name].options.deterministic)
        trainers[name]._step()

    median = interleaved({name: partial(step, name) for name in trainers}, seconds, least=3, queued=QUEUED)
    for name, value in median.items():
        yield {
            "setting": name,
            "step s": round(value, 3),
            "of the default": round(value / median["default"], 3),
            "first step s": round(first[name], 1),
            **({"target s": 1.1} if "fast" in name and DEVICE.type == "cpu" else {}),
        }


def end_to_end(seconds: float) -> Iterator[dict[str, Any]]:
    """Steps as `train.py` takes them, data, watch and log included, beside the bare compiled step on a fixed batch."""
    yield _beside_the_bare_step("cifar10 x 0.25", RUN, BLOCK, seconds)
    with tempfile.TemporaryDirectory() as root:
        _write_faces(Path(root) / "webface")
        yield _beside_the_bare_step("face x 0.25, streamed", [*FACES, f"data_root={root}"], FEW, seconds)


def _write_faces(pack: Path) -> None:
    """8,192 noise images of 1,024 people: 264 MB in a file."""
    pack.mkdir()
    images = np.lib.format.open_memmap(pack / "images.npy", "w+", np.uint8, (8192, 3, 112, 96))
    images[:] = np.random.default_rng(0).integers(0, 256, images.shape, np.uint8)
    images.flush()
    np.save(pack / "labels.npy", np.arange(8192) // 8)
    people = [f"{person:04d}" for person in range(1024)]
    manifest = {"format": FORMAT, "images": 8192, "identities": 1024, "classes": people, **Crop().describe()}
    (pack / "manifest.json").write_text(json.dumps(manifest))


def _beside_the_bare_step(network: str, run: list[str], block: int, seconds: float) -> dict[str, Any]:
    trainer = trainer_of(run)
    images, labels = trainer.loader.batch(0)
    images = images.contiguous(memory_format=torch.channels_last)
    stop = StopRequest()

    def bare() -> None:
        for _ in range(block):
            with torch.autocast(trainer.device.type, dtype=torch.bfloat16):
                loss = trainer.criterion(trainer.features(images), labels)
            trainer.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            trainer.optimizer.step()

    with tempfile.TemporaryDirectory() as folder, RunLog(Path(folder), 0, trainer.plan.steps, quiet=True) as log:

        def whole() -> None:
            for _ in range(block):
                trainer._measure(log, stop)
                stop.check()
                trainer._step()
                log.tick(trainer.progress.step)
                if trainer._logs_now():
                    trainer._stop_if_broken(log)

        median = interleaved({"bare": bare, "train.py": whole}, seconds, least=3)
    pass_ = interleaved({"test": lambda: trainer.evaluate("test", stop)}, seconds, least=3)["test"]
    batch = trainer.plan.batch_size
    step, bare_step = median["train.py"] / block, median["bare"] / block
    return {
        "network": network,
        "bare images/s": round(block * batch / median["bare"]),
        "train.py images/s": round(block * batch / median["train.py"]),
        "ratio": round(bare_step / step, 3),
        "target": 0.97,
        "evaluation s": round(pass_, 2),
        "evaluation, in steps": round(pass_ / step, 1),
        "ratio with the evaluations of a whole run": round(STEPS * bare_step / (STEPS * step + EVALUATIONS * pass_), 3),
    }
