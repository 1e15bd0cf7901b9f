"""Curves of verification and identification, as PNG and SVG."""

from collections.abc import Sequence
from pathlib import Path

from lsoftmax.metrics import Identification, Verification
from scripts import _pyplot

INK = "#1f4e79"


def draw_roc(folder: Path, verification: Verification, title: str) -> None:
    """folder/roc.png and .svg: TAR over FAR, from one impostor on, with the rates that were asked for."""
    pyplot = _pyplot.pyplot()
    curve = verification.roc
    impostors = int((~verification.same).sum())
    figure, axes = pyplot.subplots(figsize=(5.6, 4.2), layout="constrained")
    axes.plot(curve.far, curve.tar, drawstyle="steps-post", color=INK, linewidth=1.5)
    for far, (tar, realised) in verification.tar_at_far.items():
        if realised > 0:
            axes.plot(realised, tar, "o", color=INK, markersize=4)
            axes.annotate(
                f"{100 * tar:.1f} % at {far:g}", (realised, tar), (5, -10), textcoords="offset points", size=8
            )
    chance = [10 ** (-power / 20) for power in range(140)]
    axes.plot(chance, chance, color="0.75", linewidth=0.8, zorder=0)
    axes.set(xscale="log", xlim=(0.7 / impostors, 1), ylim=(0, 1.02), title=title)
    axes.set(xlabel="false accept rate", ylabel="true accept rate")
    axes.grid(color="0.92")
    text = (
        f"accuracy {100 * verification.accuracy:.2f} %\nAUC {verification.auc:.4f}\nEER {100 * verification.eer:.2f} %"
    )
    # Where the curve leaves room: it is high on the left or low.
    high = float(curve.tar[curve.far <= 10 / impostors].max()) > 0.5
    axes.text(0.03, 0.05 if high else 0.95, text, transform=axes.transAxes, va="bottom" if high else "top", size=9)
    _pyplot.save(figure, folder / "roc")


def draw_cmc(folder: Path, found: Sequence[Identification], title: str) -> None:
    """folder/cmc.png and .svg: the rank-k rate over k, one curve for each size of the distractor set."""
    pyplot = _pyplot.pyplot()
    figure, axes = pyplot.subplots(figsize=(5.6, 4.2), layout="constrained")
    colours = pyplot.get_cmap("viridis")
    for index, result in enumerate(found):
        colour = colours(0.85 * index / max(1, len(found) - 1))
        # A million ranks, evenly on the logarithmic axis: no more points than can be told apart.
        ranks = sorted({round(len(result.cmc) ** (step / 1000)) for step in range(1001)})
        rates = [float(result.cmc[rank - 1]) for rank in ranks]
        axes.plot(ranks, rates, drawstyle="steps-post", color=colour, label=f"{result.distractors:,} distractors")
    axes.set(xscale="log", xlim=(1, None), ylim=(None, 1.01), title=title, xlabel="rank k", ylabel="rank-k rate")
    axes.grid(color="0.92")
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    _pyplot.save(figure, folder / "cmc")
