"""The losses of 40 steps are what they were: of the default trainer and of the fast one, on real digits.

`python tests/train/test_golden_losses.py` writes the file anew: only where a change is meant to change what is learnt.
"""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from assemble import load_data, make_trainer
from configs import compose
from data import training_mean
from lsoftmax.engine.device import set_determinism

GOLDEN = Path(__file__).parents[1] / "golden" / "training_losses.json"
LOSSES = {"softmax": ["loss=softmax"], "m=2": ["loss.m=2"], "m=4": ["loss.m=4"]}
RUN = ["dataset=mnist5k", "dataset.train_images=400", "model.width=0.1", "device=cpu", "seed=0"]
RUN += ["schedule.steps=40", "schedule.batch_size=32", "schedule.lr.milestones=[30]"]
RUN += ["schedule.lr.base=3e-4", "schedule.lam.base=10"]  # slow: rounding grows with every step, by the learning rate
HOW = f"{' '.join(RUN)}: the loss of every step, fp32, deterministic, one thread"
# Sums in another order (threads, channels last) change the last loss by up to 0.5 %, bfloat16 by 1 %.
FLOAT32, BFLOAT16 = 0.01, 0.03
each_loss = pytest.mark.parametrize("loss", LOSSES)


def losses_of(loss: str, *overrides: str) -> list[float]:
    """Of 40 steps, as train.py takes them."""
    settings = compose([*RUN, *LOSSES[loss], *overrides])
    set_determinism(settings.trainer.deterministic)
    splits = load_data(settings)
    mean = training_mean(splits.train.chunks(), settings.dataset.mean)
    trainer = make_trainer(settings, splits, mean, torch.device("cpu"), Path("unused"))
    values = []
    trainer.guard.watch = lambda step, value, norm: values.append(value.item())  # sees the loss of every step
    for _ in range(settings.schedule.steps):
        trainer._step()
    return values


def golden(loss: str) -> list[float]:
    return json.loads(GOLDEN.read_text())["losses"][loss]


@each_loss
def test_the_default_trainer_repeats_them(loss):
    assert losses_of(loss) == pytest.approx(golden(loss), rel=FLOAT32)


@each_loss
def test_in_bfloat16_they_are_the_same_but_for_rounding(loss):
    values = losses_of(loss, "trainer=fast", "trainer.compile=false")
    assert values == pytest.approx(golden(loss), rel=BFLOAT16)


@pytest.mark.parametrize("loss", ["m=4"])
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_the_functions_of_the_compiled_step_change_nothing(loss, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))  # seconds, and no C++
    overrides = ("trainer.compile=true", "trainer.channels_last=true", "trainer.deterministic=false")
    assert losses_of(loss, *overrides) == pytest.approx(golden(loss), rel=FLOAT32)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@each_loss
def test_the_fast_trainer_is_as_near_as_bfloat16(loss):
    assert losses_of(loss, "trainer=fast") == pytest.approx(golden(loss), rel=BFLOAT16)


if __name__ == "__main__":
    torch.set_num_threads(1)
    GOLDEN.write_text(json.dumps({"how": HOW, "losses": {name: losses_of(name) for name in LOSSES}}, indent=1) + "\n")
