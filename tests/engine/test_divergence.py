"""What a run does when its loss or gradient is not finite."""

import contextlib
import json
import math
import time

import pytest
import torch

from lsoftmax.engine import checkpoint
from lsoftmax.engine.divergence import Diverged
from lsoftmax.engine.record import diverged_record
from lsoftmax.engine.signals import Interrupted
from lsoftmax.files import write_json


def spoiled(tools, step, value=math.nan):
    """Training batches of which that step's is beyond use."""
    return tools.Batches(spoil=lambda now, images: images * value if now == step else images)


@pytest.fixture
def diverged(tools, tmp_path):
    """diverged(step, value, ...) -> a trainer that ran into it, and the exception."""

    def run(step=7, value=math.nan, **changes):
        trainer = tools.trainer(tmp_path, loader=spoiled(tools, step, value), **changes)
        with pytest.raises(Diverged) as caught:
            tools.go(trainer)
        return trainer, caught.value

    return run


# --- stop


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_first_bad_step_is_named(diverged, value):
    _, error = diverged(7, value)
    assert error.divergence["step"] == 7


def test_step_0_may_be_the_bad_one(diverged):
    assert diverged(0)[1].divergence["step"] == 0


def test_weights_stay_what_they_were_before_the_bad_step(tools, tmp_path, diverged):
    trainer, _ = diverged(7, log_every=100, eval_every=100, checkpoint_every=100)
    same = tools.trainer(tmp_path / "good", log_every=100, eval_every=100, checkpoint_every=100)
    stop = tools.StopAt(7, tools.Killed())
    with pytest.raises(tools.Killed):
        tools.go(same, stop)
    assert all(torch.equal(a, b) for a, b in zip(trainer.parameters, same.parameters, strict=True))


def test_an_infinite_gradient_of_a_finite_loss_stops_the_run(tools, tmp_path):
    trainer = tools.trainer(tmp_path)
    trainer.criterion.weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(Diverged, match="at step 0 "):
        tools.go(trainer)


def test_the_run_stops_at_the_next_logged_step(diverged):
    assert diverged(6)[0].progress.step == 8  # evaluations are logged steps


def test_a_checkpoint_is_never_written_from_a_broken_state(tmp_path, diverged):
    diverged(7, checkpoint_minutes=1e-9, log_every=100, eval_every=100, checkpoint_every=100)
    assert checkpoint.load(tmp_path / "checkpoint.pt")["progress"]["step"] == 7


def test_a_stopped_broken_run_saves_nothing(tools, tmp_path):
    trainer = tools.trainer(tmp_path, loader=spoiled(tools, 6), log_every=100, eval_every=100, checkpoint_every=5)
    with pytest.raises(Interrupted):
        tools.go(trainer, tools.StopAt(8))
    assert checkpoint.load(tmp_path / "checkpoint.pt")["progress"]["step"] == 5


def test_running_statistics_that_are_not_finite_are_no_good_state(tools, tmp_path):
    # BN divides by an infinite deviation: loss and gradient are finite, and evaluation is lost for good.
    trainer = tools.trainer(tmp_path, loader=spoiled(tools, 6, 1e25), checkpoint_minutes=1e-9)
    with contextlib.suppress(Diverged):
        tools.go(trainer)
    saved = checkpoint.load(tmp_path / "checkpoint.pt")["backbone"]
    assert all(value.isfinite().all() for value in saved.values())


def test_weights_that_overflow_in_the_last_update_are_no_finished_run(tools, tmp_path):
    trainer = tools.trainer(tmp_path, lr=lambda step: 0.05 if step < 11 else 3e38)
    with pytest.raises(Diverged) as caught:
        tools.go(trainer)
    assert caught.value.divergence["step"] == 11


def test_the_message_names_step_lambda_rate_and_feature_norm(diverged):
    _, error = diverged(6, math.inf)
    assert all(part in str(error) for part in ("at step 6 ", "lambda 4,", "lr 0.05", "feature norm "))


def test_the_message_names_three_remedies(diverged):
    _, error = diverged()
    assert all(key in str(error) for key in ("schedule.lam.gamma", "schedule.lam.minimum", "loss=softmax"))


def test_the_message_is_one_line(diverged):
    assert "\n" not in str(diverged()[1])


def test_the_feature_norm_is_that_of_the_bad_batch(tools, tmp_path):
    trainer = tools.trainer(tmp_path, loss=tools.fragile(4.5))
    with pytest.raises(Diverged) as caught:
        tools.go(trainer)
    assert 0.01 < caught.value.divergence["feature_norm"] < 100


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_run_has_a_record_that_is_json(tmp_path, diverged, value):
    trainer, _ = diverged(7, value)
    write_json(tmp_path / "result.json", diverged_record(trainer, trainer.state.identity, {}))
    assert json.loads((tmp_path / "result.json").read_text())["divergences"][0]["step"] == 7


def test_the_record_of_a_diverged_run_says_so(diverged):
    trainer, _ = diverged()
    record = diverged_record(trainer, trainer.state.identity, {})
    assert (record["status"], record["test_error"], record["wrong"]) == ("diverged", None, None)


def test_metrics_hold_no_line_of_the_broken_steps(tools, tmp_path, diverged):
    diverged(6)
    assert [line["step"] for line in tools.lines(tmp_path)] == [3, 4, 5, 6]


# --- raise_lambda: lambda is 10 - step, and the loss is nan below a limit


def raising(tools, folder, limit=4.5, **changes):
    return tools.trainer(folder, loss=tools.fragile(limit), **{"on_divergence": "raise_lambda"} | changes)


def test_a_higher_floor_lets_the_run_finish(tools, tmp_path):
    trainer = tools.go(raising(tools, tmp_path))
    assert trainer.progress.step == 12 and trainer.guard.first_bad_step() is None


def test_the_run_goes_on_from_the_last_good_checkpoint(tools, tmp_path, monkeypatch):
    trainer, steps = raising(tools, tmp_path), []
    batch = trainer.loader.batch
    monkeypatch.setattr(trainer.loader, "batch", lambda step: steps.append(step) or batch(step))
    tools.go(trainer)
    assert steps == [*range(8), 6, *range(5, 12)]  # 6 again for its feature norm; checkpoint at 5


def test_the_floor_is_twice_the_lambda_at_the_divergence(tools, tmp_path):
    trainer = tools.go(raising(tools, tmp_path))
    assert (trainer.progress.lambda_floor, float(trainer.criterion.lam)) == (8, 8)


def test_the_floor_is_at_least_one_half(tools, tmp_path):
    trainer = raising(tools, tmp_path, limit=0.4, lam=lambda step: max(0.0, 6.0 - step))
    assert tools.go(trainer).progress.lambda_floor == 0.5


def test_every_return_doubles_the_floor_at_least(tools, tmp_path):
    trainer = tools.go(raising(tools, tmp_path, limit=30.0, lam=lambda step: 40.0 if step < 6 else 4.0))
    assert [d["floor"] for d in trainer.progress.divergences] == [8, 16, 32]


def test_lambda_stays_above_the_floor_after_the_return(tools, tmp_path):
    tools.go(raising(tools, tmp_path))
    assert [line["lam"] for line in tools.lines(tmp_path)] == [8, 7, 6, 8, 8, 8, 8, 8]  # back to step 5


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_run_returns_at_most_max_restarts_times(tools, tmp_path, times):
    trainer = raising(tools, tmp_path, limit=1e9, max_restarts=times)
    with pytest.raises(Diverged):
        tools.go(trainer)
    assert len(trainer.progress.divergences) == times + 1


def test_returns_are_in_the_record(tools, tmp_path):
    trainer = tools.go(raising(tools, tmp_path))
    [divergence] = diverged_record(trainer, trainer.state.identity, {})["divergences"]
    assert (divergence["step"], divergence["lam"], divergence["floor"]) == (6, 4, 8)


def test_a_loss_without_lambda_stops(tools, tmp_path):
    trainer = tools.trainer(tmp_path, loss="softmax", loader=spoiled(tools, 6), on_divergence="raise_lambda")
    with pytest.raises(Diverged):
        tools.go(trainer)


def test_metrics_hold_every_logged_step_once_after_a_return(tools, tmp_path):
    tools.go(raising(tools, tmp_path, log_every=1))
    assert [line["step"] for line in tools.lines(tmp_path)] == list(range(1, 13))


def test_the_curve_holds_every_evaluation_once_after_a_return(tools, tmp_path):
    assert [point[0] for point in tools.go(raising(tools, tmp_path)).progress.curve] == [4, 8, 12]


def test_a_return_to_step_0_forgets_momentum(tools, tmp_path):
    changes = {"lam": lambda step: 1.0, "limit": 1.5, "checkpoint_every": 100}
    returned = tools.go(raising(tools, tmp_path / "a", **changes))
    straight = tools.go(raising(tools, tmp_path / "b", **changes | {"lam": lambda step: 2.0, "limit": 0.0}))
    tools.check_same(returned.optimizer.state_dict(), straight.optimizer.state_dict())


def test_a_return_does_not_forget_in_what_precision_steps_were_done(tools, tmp_path):
    with pytest.raises(Interrupted):  # at step 6, behind the anchor at 5 and before the divergence
        tools.go(raising(tools, tmp_path), tools.StopAt(8))
    trainer = raising(tools, tmp_path)
    assert trainer.resume() and trainer.progress.step == 6 and not trainer.progress.divergences
    trainer.progress.precisions.append("bf16")  # as going on in another precision would have it
    assert tools.go(trainer).progress.divergences and trainer.progress.precisions == ["fp32", "bf16"]


def test_a_return_does_not_forget_restarts(tools, tmp_path):
    with pytest.raises(Interrupted):  # at step 6, behind the anchor at 5, which knows of no restart
        tools.go(raising(tools, tmp_path), tools.StopAt(8))
    trainer = raising(tools, tmp_path)
    assert trainer.resume() and trainer.progress.step == 6 and not trainer.progress.divergences
    assert tools.go(trainer).progress.divergences and trainer.progress.restarts == 1


def test_speeds_after_a_return_are_of_the_steps_since(tools, tmp_path):
    tools.go(raising(tools, tmp_path, log_every=1, checkpoint_every=100))  # back to step 0
    speeds = [json.loads(line)["images_per_s"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(speeds) == 12 and min(speeds) > 0


def test_a_return_does_not_lose_time(tools, tmp_path):
    trainer = raising(tools, tmp_path)
    trainer.progress.seconds = 1000.0
    assert 1000 < tools.go(trainer).elapsed() < 1100


def test_a_return_does_not_lose_the_time_of_the_steps_that_it_takes_back(tools, tmp_path, monkeypatch):
    """Every batch takes ten seconds more."""
    late, monotonic = [], time.monotonic
    monkeypatch.setattr("lsoftmax.engine.trainer.time.monotonic", lambda: monotonic() + 10 * len(late))
    loader = tools.Batches(spoil=lambda step, images: late.append(step) or images)
    trainer = tools.go(raising(tools, tmp_path, loader=loader, checkpoint_minutes=1e9))
    assert trainer.elapsed() == pytest.approx(10 * len(late), abs=9)


def test_a_lambda_of_infinity_at_the_divergence_has_a_record_that_is_json(tmp_path, diverged):
    trainer, _ = diverged(7, lam=lambda step: math.inf)
    write_json(tmp_path / "result.json", diverged_record(trainer, trainer.state.identity, {}))


@pytest.fixture(scope="module")
def uninterrupted(tools, tmp_path_factory):
    return tools.outcome(tools.go(raising(tools, tmp_path_factory.mktemp("whole"))))


@pytest.mark.parametrize("moment", range(0, 21, 2))
def test_a_killed_run_returns_to_the_same_bits(tools, tmp_path, uninterrupted, moment):
    with pytest.raises(tools.Killed):
        tools.go(raising(tools, tmp_path), tools.StopAt(moment, tools.Killed()))
    trainer = tools.go_on(tmp_path, loss=tools.fragile(4.5), on_divergence="raise_lambda")
    tools.check_same(tools.outcome(trainer), uninterrupted)


@pytest.mark.parametrize("moment", range(0, 21, 2))
def test_a_stopped_run_returns_to_the_same_bits(tools, tmp_path, uninterrupted, moment):
    with pytest.raises(Interrupted):
        tools.go(raising(tools, tmp_path), tools.StopAt(moment))
    trainer = tools.go_on(tmp_path, loss=tools.fragile(4.5), on_divergence="raise_lambda")
    tools.check_same(tools.outcome(trainer), uninterrupted)


def test_the_clock_does_not_decide_where_a_run_returns_to(tools, tmp_path, uninterrupted):
    trainer = tools.go(raising(tools, tmp_path, checkpoint_minutes=1e-9))
    tools.check_same(tools.outcome(trainer), uninterrupted)


def test_a_run_killed_while_it_returns_does_not_return_twice(tools, tmp_path, uninterrupted, monkeypatch):
    trainer = raising(tools, tmp_path)

    def killed(*_):
        raise tools.Killed

    monkeypatch.setattr("lsoftmax.engine.log.RunLog.rewind", killed)
    with pytest.raises(tools.Killed):
        tools.go(trainer)
    monkeypatch.undo()
    again = tools.go_on(tmp_path, loss=tools.fragile(4.5), on_divergence="raise_lambda")
    tools.check_same(tools.outcome(again), uninterrupted)
