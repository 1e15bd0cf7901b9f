"""Learning rate and lambda of a configuration, drawn together: look at it before training.

    python scripts/plot_schedule.py dataset=mnist [schedule=mnist_caffe ...] [out=schedule.png]

Also says what the rate is where lambda passes 10, 1 and 0.1: a margin that comes on while the rate is still high is the
first suspect of a run that dies.
"""

import _root  # noqa: F401

# isort: split

import sys
from functools import partial
from pathlib import Path

from configs.errors import ConfigError
from configs.schema import LSoftmax
from configs.settings import ROOT, compose
from scripts import _cli


def plot_schedule(arguments: list[str]) -> None:
    """See above."""
    own, overrides = _cli.split_options(arguments, ["out"])
    settings = compose(overrides)
    out = (
        Path(own["out"]).expanduser()
        if "out" in own
        else ROOT / "outputs" / "schedules" / f"{settings.dataset.name}.png"
    )

    from assemble import make_plan
    from lsoftmax import AdaptiveLambda, PlateauLR

    plan = make_plan(settings)
    lam = plan.lam
    if isinstance(lam, AdaptiveLambda):
        raise ConfigError("schedule.lam.kind=adaptive has no curve before the run; scripts/plot_run.py draws the run's")
    if isinstance(plan.lr, PlateauLR):
        raise ConfigError("schedule.lr.kind=plateau has no curve before the run; scripts/plot_run.py draws the run's")
    steps = range(plan.steps)
    rates, lambdas = [plan.lr(step) for step in steps], [lam(step) for step in steps]
    if not isinstance(settings.loss, LSoftmax):
        print(f"loss={settings.loss.name} takes no notice of lambda")
    for level in (10, 1, 0.1):
        step = next((step for step in steps if lambdas[step] < level), None)
        where = "never" if step is None else f"from step {step:,} on, where the learning rate is {rates[step]:g}"
        print(f"lambda < {level:<4} {where}")
    print(f"lambda at the end {lambdas[-1]:.3g}")
    _draw(out, rates, lambdas, f"{settings.dataset.name}: {plan.steps:,} steps of {plan.batch_size}")
    print(f"drawn in {out}")


def _draw(out: Path, rates: list[float], lambdas: list[float], title: str) -> None:
    from lsoftmax.files import make_folder, write_atomically
    from scripts import _pyplot

    _pyplot.pyplot()
    from scripts.figures import style
    from scripts.figures.lr_lambda import draw_pair

    with style.applied():
        figure, [[above], [below]] = style.panels(2, 1, 6.4, 4.8, sharex=True)
        above.set_title(title)
        draw_pair(above, below, rates, lambdas)
    if (kind := out.suffix[1:].lower()) not in figure.canvas.get_supported_filetypes():
        raise ConfigError(f"out={out}: the name must end in .png, .svg, .pdf or what else matplotlib writes")
    make_folder(out.parent)
    write_atomically(out, partial(figure.savefig, format=kind, dpi=150))


if __name__ == "__main__":
    sys.exit(_cli.main(plot_schedule, __doc__))
