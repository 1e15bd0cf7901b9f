"""A learning rate that looks at the run: when it looks, what it does, and that a kill changes no bit of it."""

import pytest
import torch

from lsoftmax import PlateauLR
from lsoftmax.engine import checkpoint
from lsoftmax.engine.signals import Interrupted
from lsoftmax.errors import UserError

ERRORS = {3: 50.0, 6: 40.0, 9: 45.0, 12: 45.0}  # falls after 9, patience 0


def run(tools, folder, errors=ERRORS, **changes):
    """A trainer that looks every three steps at the error of the step, and asks whether to stop while it does."""

    def held_out_error(between):
        between()
        trainer.looked.append(trainer.progress.step)
        return errors[trainer.progress.step]

    options = {"lr": PlateauLR(0.05, every=3, patience=0), "held_out_error": held_out_error}
    trainer = tools.trainer(folder, **options | changes)
    trainer.looked = []
    return trainer


def go_on(tools, folder, **changes):
    trainer = run(tools, folder, **changes)
    torch.manual_seed(123)
    trainer.resume()
    return tools.go(trainer)


@pytest.fixture(scope="module")
def uninterrupted(tools, tmp_path_factory):
    return tools.outcome(tools.go(run(tools, tmp_path_factory.mktemp("whole"))))


def test_the_rate_falls_where_the_error_has_stopped_falling(tools, tmp_path):
    trainer = tools.go(run(tools, tmp_path, log_every=1))
    rates = {line["step"]: line["lr"] for line in tools.lines(tmp_path)}  # a line's rate is that of its step
    assert rates == {step: 0.05 if step <= 9 else 0.05 * 0.1 for step in range(1, 13)}
    assert trainer.looked == [3, 6, 9, 12]


def test_every_look_is_in_the_log(tools, tmp_path):
    tools.go(run(tools, tmp_path, log_every=100, eval_every=100, checkpoint_every=100))
    assert {line["step"]: line.get("val_error") for line in tools.lines(tmp_path)} == {3: 50, 6: 40, 9: 45, 12: 45}
    assert all("loss" in line for line in tools.lines(tmp_path))  # as of any other logged step


# 12 steps, evaluations of two batches after 4, 8 and 12, four looks
@pytest.mark.parametrize("moment", range(12 + 6 + 4))
@pytest.mark.parametrize("error", [Interrupted(15), "killed"], ids=["stopped", "killed"])
def test_a_run_goes_on_to_the_same_bits(tools, tmp_path, uninterrupted, moment, error):
    error = tools.Killed() if error == "killed" else error
    with pytest.raises((Interrupted, tools.Killed)):
        tools.go(run(tools, tmp_path), tools.StopAt(moment, error))
    tools.check_same(tools.outcome(go_on(tools, tmp_path)), uninterrupted)


def test_the_rate_returns_with_the_weights(tools, tmp_path):
    """The loss is nan at step 9, behind the look at which the rate falls; the run goes back to its checkpoint at 5."""
    options = {"on_divergence": "raise_lambda", "loss": tools.fragile(1.5), "lam": lambda step: 10 - step}
    trainer = tools.go(run(tools, tmp_path, log_every=1, **options))
    assert trainer.looked == [3, 6, 9, 6, 9, 12] and trainer.progress.divergences[0]["step"] == 9
    rates = {line["step"]: line["lr"] for line in tools.lines(tmp_path)}
    assert rates == {step: 0.05 if step <= 9 else 0.05 * 0.1 for step in range(1, 13)}


def test_the_checkpoint_has_its_state(tools, tmp_path):
    tools.go(run(tools, tmp_path))
    kept = {"lr": pytest.approx(0.0005), "best": 40, "bad": 0, "looked": 12}
    assert checkpoint.load(tmp_path / "checkpoint.pt")["plateau"] == kept


def test_a_run_by_step_has_none(tools, tmp_path):
    tools.go(tools.trainer(tmp_path))
    assert "plateau" not in checkpoint.load(tmp_path / "checkpoint.pt")


def test_the_checkpoint_of_another_kind_is_one_line(tools, tmp_path):
    tools.go(tools.trainer(tmp_path))
    with pytest.raises(UserError, match="does not fit this run"):
        run(tools, tmp_path).resume()
