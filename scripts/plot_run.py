"""The curves of one or several runs on one page: where did it die, which one learnt, what did lambda do.

    python scripts/plot_run.py RUN [RUN ...] [out=curves.png]

RUN is a run folder, finished or not. Drawn from its metrics.jsonl: loss, train and held-out error (of validation images
where the run has them, else of test images), lambda, the learning rate, the target angle (median, 5 to 95 % of the
samples), the shares of samples that win, that win with the margin on, and whose psi is above 0, norms of features
(least to greatest too) and of class weights (the least too: it falls to 0 with the class that is given up), the
gradient's norm. A vertical line stands where a run diverged (died, or went back to a higher lambda; dash-dotted) and
where it began to give up a class, whose weight then has less than a fifth of the mean norm (dotted). Runs are judged
beside softmax's of the same data, network and schedule, where it is among them. Written as PNG and as SVG.
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

from configs.errors import ConfigError, cannot_read
from configs.settings import ROOT
from scripts import _cli, _pyplot, _values
from scripts._records import verdict

LONG = 60  # characters: a label that fills half of the page


@dataclass(frozen=True)
class Run:
    """What a run has said so far."""

    folder: Path
    status: str  # finished, collapsed, diverged or unfinished
    lines: list[dict[str, Any]]  # of metrics.jsonl
    diverged: list[int]  # at these steps, as far as result.json tells
    result: dict[str, Any] | None = None  # result.json
    given_up: int | None = None  # from this logged step on a class is

    def curve(self, key: str) -> tuple[list[int], list[float]]:
        """Steps and values, where there is one; nan for what is not finite, which is not drawn."""
        points = [(line["step"], float(line[key])) for line in self.lines if line.get(key) is not None]
        return [step for step, _ in points], [value if math.isfinite(value) else math.nan for _, value in points]

    def held_out(self) -> tuple[list[int], list[float]]:
        """The error of validation images, of a run that has them, else of test images."""
        validation = self.curve("val_error")
        return validation if validation[0] else self.curve("test_error")


def plot_run(arguments: list[str]) -> None:
    """See above."""
    own = dict(argument.split("=", 1) for argument in arguments if argument.startswith("out="))
    # Their names have = in them; run=FOLDER is what other scripts take.
    folders = [argument.removeprefix("run=") for argument in arguments if not argument.startswith("out=")]
    if not folders:
        raise ConfigError("which run? python scripts/plot_run.py RUN [RUN ...] [out=curves.png]")
    out = _values.new_file(own, "out", "FILE.png") if own else ROOT / "outputs" / "curves.png"
    runs = _beside_softmax([_read(Path(folder).expanduser()) for folder in folders])
    stem = out.with_suffix("") if out.suffix in (".png", ".svg") else out
    labels = _labels([run.folder for run in runs])
    for run, label in zip(runs, labels, strict=True):
        reach = f", {len(run.lines)} logged steps up to step {run.lines[-1]['step']:,}" if run.lines else ""
        lost = f", gives up a class from step {run.given_up:,} on" if run.given_up is not None else ""
        died = f", diverged at step {', '.join(f'{step:,}' for step in run.diverged)}" if run.diverged else ""
        print(f"{label}: {run.status}{reach}{lost}{died}")
    if not any(run.lines for run in runs):
        raise ConfigError("none of these runs has logged a step: there is nothing to draw")
    _draw(stem, runs, labels)
    png, svg = _pyplot.files_of(stem)
    print(f"drawn in {png} and {svg.name}")


def _read(folder: Path) -> Run:
    """ConfigError if it is no run folder."""
    from lsoftmax.engine.collapse import given_up_at

    path = folder / "metrics.jsonl"
    try:
        lines = [line for text in path.read_text().splitlines() if (line := _line(text))]
        result = json.loads((folder / "result.json").read_text()) if (folder / "result.json").exists() else None
        status = verdict(result) if result is not None else "unfinished"
        diverged = [divergence["step"] for divergence in result["divergences"]] if result is not None else []
    except FileNotFoundError as error:
        raise ConfigError(f"there is no run in {folder}: {path.name} is missing") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise cannot_read(f"the run in {folder}", error) from error
    return Run(folder, status, lines, diverged, result, given_up_at(lines))


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
    """Paths without the folders and options that all have in common."""
    paths = [folder.resolve() for folder in folders]
    common = Path(os.path.commonpath([path.parent for path in paths]))
    if len(paths) == 1:
        common = common.parent  # seed=0 alone would say little
    options = [str(path.relative_to(common)).split(",") for path in paths]
    shared = set(options[0]).intersection(*options[1:]) if len(paths) > 1 else set()
    return [",".join([option for option in of if option not in shared] or of) for of in options]


def _band(axes: Any, run: Run, low: str, high: str, color: str) -> None:
    (steps, lowest), (_, highest) = run.curve(low), run.curve(high)
    axes.fill_between(steps, lowest, highest, color=color, alpha=0.15, linewidth=0)


def _draw(stem: Path, runs: list[Run], labels: list[str]) -> None:
    figure, panels = _pyplot.pyplot().subplots(4, 2, sharex=True, figsize=(11, 12), layout="constrained")
    (loss, error), (lam, rate), (angle, share), (norm, gradient) = panels
    for number, (run, label) in enumerate(zip(runs, labels, strict=True)):
        color = f"C{number % 10}"
        name = label if run.status == "finished" else f"{label} ({run.status})"
        loss.plot(*run.curve("loss"), color=color, label=name)
        error.plot(*run.curve("train_error"), color=color, alpha=0.5, linewidth=0.9)
        error.plot(*run.held_out(), color=color, marker=".")
        lam.plot(*run.curve("lam"), color=color)
        rate.plot(*run.curve("lr"), color=color, drawstyle="steps-post")
        _band(angle, run, "target_angle_q05", "target_angle_q95", color)
        angle.plot(*run.curve("target_angle_q50"), color=color)
        for key, style in (("wins", "-"), ("wins_with_margin", "--"), ("positive_psi", ":")):
            steps, shares = run.curve(key)
            share.plot(steps, [100 * value for value in shares], color=color, linestyle=style)
        _band(norm, run, "feature_norm_min", "feature_norm_max", color)
        norm.plot(*run.curve("feature_norm"), color=color)
        norm.plot(*run.curve("weight_norm"), color=color, linestyle="--")
        norm.plot(*run.curve("weight_norm_min"), color=color, linestyle=":")  # falls first where a class is given up
        gradient.plot(*run.curve("gradient_norm"), color=color)
        for axes in panels.flat:
            for step in run.diverged:
                axes.axvline(step, color=color, linestyle="-.", linewidth=1)
            if run.given_up is not None:
                axes.axvline(run.given_up, color=color, linestyle=":", linewidth=1)
    loss.set(yscale="log", title="loss of the batch")
    error.set(title="error in %: train (thin), held out (dots)", ylim=(0, None))
    # Lambda may end at 0, which a logarithm cannot show: linear below a thousandth.
    lam.set_yscale("symlog", linthresh=1e-3)
    lam.set(title="lambda", ylim=(0, None))
    rate.set(yscale="log", title="learning rate")
    angle.set(title="target angle in degrees: median, 5 to 95 %", ylim=(0, None))
    share.set(title="% that win, with the margin (dashed); psi > 0 (dotted)", ylim=(0, 102))
    norm.set(yscale="log", title="norms: x mean and range; w mean (dashed), least (dotted)", xlabel="step")
    gradient.set(yscale="log", title="norm of the gradient", xlabel="step")
    for axes in panels.flat:
        axes.grid(color="0.9")
    columns = 2 if len(runs) > 3 and max(map(len, labels)) < LONG else 1
    figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    _pyplot.save(figure, stem)


if __name__ == "__main__":
    sys.exit(_cli.main(plot_run, __doc__))
