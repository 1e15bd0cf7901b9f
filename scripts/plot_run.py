"""The curves of one or several runs on one page: where did it die, which one learnt, what did lambda do.

    python scripts/plot_run.py RUN [RUN ...] [out=curves.png]

RUN is a run folder, finished or not. Drawn from its metrics.jsonl: loss, train and test error, lambda and the learning
rate, the target angle (median, 5 to 95 % of the samples), norms of features and class weights, the gradient's norm. A
vertical line stands where a run diverged (died, or went back to a higher lambda). Runs are judged beside softmax's of
the same data, network and schedule, where it is among them. Written as PNG and as SVG.
"""

import _root  # noqa: F401

# isort: split

import json
import math
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from configs.settings import ROOT
from scripts import _cli
from scripts._records import verdict


@dataclass(frozen=True)
class Run:
    """What a run has said so far."""

    folder: Path
    status: str  # finished, collapsed, diverged or unfinished
    lines: list[dict[str, Any]]  # of metrics.jsonl
    diverged: list[int]  # at these steps, as far as result.json tells
    result: dict[str, Any] | None = None  # result.json

    def curve(self, key: str) -> tuple[list[int], list[float]]:
        """Steps and values, where there is one; nan for what is not finite, which is not drawn."""
        points = [(line["step"], float(line[key])) for line in self.lines if line.get(key) is not None]
        return [step for step, _ in points], [value if math.isfinite(value) else math.nan for _, value in points]


def plot_run(arguments: list[str]) -> None:
    """See above."""
    own = [argument for argument in arguments if argument.startswith("out=")]
    folders = [argument for argument in arguments if argument not in own]  # their names have = in them
    if not folders:
        raise ConfigError("which run? python scripts/plot_run.py RUN [RUN ...] [out=curves.png]")
    runs = _beside_softmax([_read(Path(folder).expanduser()) for folder in folders])
    out = Path(own[-1].partition("=")[2]).expanduser() if own else ROOT / "outputs" / "curves.png"
    stem = out.with_suffix("") if out.suffix in (".png", ".svg") else out
    files = [stem.with_name(stem.name + suffix) for suffix in (".png", ".svg")]
    labels = _labels([run.folder for run in runs])
    for run, label in zip(runs, labels, strict=True):
        reach = f", {len(run.lines)} logged steps up to step {run.lines[-1]['step']:,}" if run.lines else ""
        died = f", diverged at step {', '.join(f'{step:,}' for step in run.diverged)}" if run.diverged else ""
        print(f"{label}: {run.status}{reach}{died}")
    if not any(run.lines for run in runs):
        raise ConfigError("none of these runs has logged a step: there is nothing to draw")
    _draw(files, runs, labels)
    print(f"drawn in {files[0]} and {files[1].name}")


def _read(folder: Path) -> Run:
    """ConfigError if it is no run folder."""
    path = folder / "metrics.jsonl"
    try:
        lines = [line for text in path.read_text().splitlines() if (line := _line(text))]
        result = json.loads((folder / "result.json").read_text()) if (folder / "result.json").exists() else None
        status = verdict(result) if result is not None else "unfinished"
        diverged = [divergence["step"] for divergence in result["divergences"]] if result is not None else []
    except FileNotFoundError as error:
        raise ConfigError(f"there is no run in {folder}: {path.name} is missing") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"the run in {folder} cannot be read: {str(error).splitlines()[0]}") from error
    return Run(folder, status, lines, diverged, result)


def _beside_softmax(runs: list[Run]) -> list[Run]:
    """The same, with the verdict that softmax's runs of the same setting lead to."""

    def setting(result: dict[str, Any]) -> tuple[Any, ...]:
        schedule = {key: value for key, value in result.get("schedule", {}).items() if key != "lam"}
        return result.get("dataset"), result.get("model"), schedule

    ended = [run.result for run in runs if run.result is not None]
    softmax = [result for result in ended if result.get("loss", {}).get("name") == "softmax"]
    return [
        replace(run, status=verdict(run.result, [s for s in softmax if setting(s) == setting(run.result)]))
        if run.result is not None
        else run
        for run in runs
    ]


def _line(text: str) -> dict[str, Any] | None:
    """None for the torn last line of a run that is being written."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and "step" in line else None


def _labels(folders: list[Path]) -> list[str]:
    """Paths without the folders that all have in common."""
    paths = [folder.resolve() for folder in folders]
    common = Path(os.path.commonpath([path.parent for path in paths]))
    if len(paths) == 1:
        common = common.parent  # seed=0 alone would say little
    return [str(path.relative_to(common)) for path in paths]


def _draw(files: list[Path], runs: list[Run], labels: list[str]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "lsoftmax"  # equal curves, equal files
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(3, 2, sharex=True, figsize=(11, 9.5), layout="constrained")
    (loss, error), (lam, angle), (norm, gradient) = panels
    rate = lam.twinx()
    for number, (run, label) in enumerate(zip(runs, labels, strict=True)):
        color = f"C{number % 10}"
        name = label if run.status == "finished" else f"{label} ({run.status})"
        loss.plot(*run.curve("loss"), color=color, label=name)
        error.plot(*run.curve("train_error"), color=color, alpha=0.5, linewidth=0.9)
        error.plot(*run.curve("test_error"), color=color, marker=".")
        lam.plot(*run.curve("lam"), color=color)
        rate.plot(*run.curve("lr"), color=color, linestyle=":", drawstyle="steps-post")
        low, high = run.curve("target_angle_q05"), run.curve("target_angle_q95")
        angle.fill_between(low[0], low[1], high[1], color=color, alpha=0.15, linewidth=0)
        angle.plot(*run.curve("target_angle_q50"), color=color)
        norm.plot(*run.curve("feature_norm"), color=color)
        norm.plot(*run.curve("weight_norm"), color=color, linestyle="--")
        gradient.plot(*run.curve("gradient_norm"), color=color)
        for axes in panels.flat:
            for step in run.diverged:
                axes.axvline(step, color=color, linestyle="-.", linewidth=1)
    loss.set(yscale="log", title="loss of the batch")
    error.set(title="error in %: train (thin), test (dots)", ylim=(0, None))
    # Lambda may end at 0, which a logarithm cannot show: linear below a thousandth.
    lam.set_yscale("symlog", linthresh=1e-3)
    lam.set(title="lambda (left), learning rate (dotted, right)", ylim=(0, None))
    rate.set(yscale="log")
    angle.set(title="target angle in degrees: median, 5 to 95 %", ylim=(0, None))
    norm.set(yscale="log", title="mean norm: features, class weights (dashed)", xlabel="step")
    gradient.set(yscale="log", title="norm of the gradient", xlabel="step")
    for axes in panels.flat:
        axes.grid(color="0.9")
    figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=1 if len(runs) < 4 else 2)
    try:
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
    except OSError as problem:
        raise ConfigError(f"out={files[0]}: {problem.strerror}") from problem
    finally:
        pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(_cli.main(plot_run, __doc__))
