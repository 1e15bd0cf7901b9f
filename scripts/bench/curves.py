"""What the fast trainer learns beside the default one on real images: step by step, and at the end."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from configs.settings import ROOT
from scripts.bench.measure import same_threads
from scripts.bench.runs import trainer_of

STEPS, WINDOW = 300, 50
RUN = ["dataset=cifar10", "data_download=false", "dataset.train_images=5000", "model.width=0.25", "loss.m=4"]
RUN += [f"schedule.steps={STEPS}", "schedule.batch_size=64", "schedule.lr.milestones=[]"]


def loss_curves(seconds: float) -> Iterator[dict[str, Any]]:
    """300 steps of CIFAR10 x 0.25 by each trainer, and by the default one with another seed: what noise is."""
    options = {"fp32": ["seed=0"], "fast": ["seed=0", "trainer=fast"], "fp32, seed 1": ["seed=1"]}
    curves = {name: losses(overrides) for name, overrides in options.items()}
    yield {
        "steps": STEPS,
        **{f"last {WINDOW}, {name}": round(statistics.mean(curve[-WINDOW:]), 4) for name, curve in curves.items()},
        "|fast - fp32|": round(distance(curves["fast"], curves["fp32"]), 4),
        "|seed 1 - seed 0|": round(distance(curves["fp32, seed 1"], curves["fp32"]), 4),
    }
    for step in range(STEPS):
        yield {"step": step, **{name: round(curve[step], 4) for name, curve in curves.items()}}


def final_error(seconds: float) -> Iterator[dict[str, Any]]:
    """Test error of whole default runs (mnist5k, m = 4) over three seeds, by each trainer."""
    errors = {
        name: [_test_error([*overrides, f"seed={seed}"]) for seed in range(3)]
        for name, overrides in {"default": [], "fast": ["trainer=fast"]}.items()
    }
    mean = {name: statistics.mean(found) for name, found in errors.items()}
    yield {
        **{name: f"{mean[name]:.2f} ± {statistics.stdev(found):.2f} (3)" for name, found in errors.items()},
        "apart, in standard deviations of the default": round(
            abs(mean["fast"] - mean["default"]) / statistics.stdev(errors["default"]), 2
        ),
        "target": 1.0,
        "values": errors,
    }


def _test_error(overrides: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "train.py", *overrides, f"run_dir={folder}/run"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=same_threads())
        return float(json.loads((Path(folder) / "run" / "result.json").read_text())["test_error"])


def losses(overrides: list[str]) -> list[float]:
    """The training loss of every step."""
    trainer = trainer_of([*RUN, *overrides])
    seen: list[torch.Tensor] = []
    watch = trainer.guard.watch

    def keep(step: int | torch.Tensor, loss: torch.Tensor, gradient_norm: torch.Tensor) -> None:
        seen.append(loss.detach())
        watch(step, loss, gradient_norm)

    trainer.guard.watch = keep  # type: ignore[method-assign]  # the one place that sees every step's loss
    for _ in range(STEPS):
        trainer._step()
    return torch.stack(seen).tolist()


def distance(one: list[float], other: list[float]) -> float:
    """The largest difference of the two curves, smoothed over WINDOW steps, as a share of the second."""
    starts = range(0, STEPS - WINDOW + 1, WINDOW // 2)
    pairs = [[statistics.mean(curve[start : start + WINDOW]) for curve in (one, other)] for start in starts]
    return max(abs(a - b) / b for a, b in pairs)
