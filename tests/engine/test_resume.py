"""The same command gives the same bits, however often it is stopped."""

import json
from types import SimpleNamespace

import pytest
import torch

from lsoftmax.engine.signals import Interrupted

# steps 12, evaluations of 2 batches after 4, 8 and 12: questions at 12 + 3 * 2 moments
MOMENTS = range(18)


@pytest.fixture(scope="module")
def uninterrupted(tools, tmp_path_factory):
    return tools.outcome(tools.go(tools.trainer(tmp_path_factory.mktemp("whole"))))


def stop(tools, folder, moment, error=None, **changes):
    """Run until the moment; the trainer as it was left."""
    trainer = tools.trainer(folder, **changes)
    trainer.resume()
    with pytest.raises((Interrupted, tools.Killed)):
        tools.go(trainer, tools.StopAt(moment, error))
    return trainer


def test_the_same_seed_gives_the_same_bits(tools, tmp_path, uninterrupted):
    tools.check_same(tools.outcome(tools.go(tools.trainer(tmp_path))), uninterrupted)


def test_training_changes_every_parameter(tools, tmp_path):
    trainer = tools.trainer(tmp_path)
    before = [p.detach().clone() for p in trainer.parameters]
    tools.go(trainer)
    assert not any(torch.equal(a, b) for a, b in zip(before, trainer.parameters, strict=True))


def test_there_are_as_many_moments_as_are_tested(tools, tmp_path):
    stop = tools.StopAt()
    tools.go(tools.trainer(tmp_path), stop)
    assert stop.asked == len(MOMENTS)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stopped_run_goes_on_to_the_same_bits(tools, tmp_path, uninterrupted, moment):
    stop(tools, tmp_path, moment)
    tools.check_same(tools.outcome(tools.go_on(tmp_path)), uninterrupted)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_goes_on_to_the_same_bits(tools, tmp_path, uninterrupted, moment):
    stop(tools, tmp_path, moment, tools.Killed())
    tools.check_same(tools.outcome(tools.go_on(tmp_path)), uninterrupted)


@pytest.mark.parametrize("moment", range(3, 15))
def test_a_run_killed_after_it_was_stopped_goes_on_to_the_same_bits(tools, tmp_path, uninterrupted, moment):
    stop(tools, tmp_path, moment)
    stop(tools, tmp_path, 3, tools.Killed())
    tools.check_same(tools.outcome(tools.go_on(tmp_path)), uninterrupted)


def test_a_run_stopped_after_every_step_ends_with_the_same_bits(tools, tmp_path, uninterrupted):
    for step in range(1, 12):
        trainer = tools.trainer(tmp_path)
        trainer.resume()
        stop = tools.StopAt()
        stop.check = lambda trainer=trainer, step=step: trainer.progress.step >= step and _interrupt()
        with pytest.raises(Interrupted):
            tools.go(trainer, stop)
    tools.check_same(tools.outcome(tools.go_on(tmp_path)), uninterrupted)


def _interrupt():
    raise Interrupted(15)


@pytest.mark.parametrize("moment", [4, 5])
def test_an_evaluation_that_is_interrupted_is_done_again(tools, tmp_path, uninterrupted, moment):
    trainer = stop(tools, tmp_path, moment)
    assert (trainer.progress.step, trainer.progress.curve) == (4, [])
    assert tools.go_on(tmp_path).progress.curve == uninterrupted["progress"]["curve"]


def test_a_run_stopped_after_its_last_step_goes_on_to_its_end(tools, tmp_path, uninterrupted):
    trainer = tools.go(tools.trainer(tmp_path))
    assert trainer.progress.step == 12
    tools.check_same(tools.outcome(tools.go_on(tmp_path)), uninterrupted)


def test_stopping_keeps_every_step_done(tools, tmp_path):
    done = stop(tools, tmp_path, 3).progress.step
    trainer = tools.trainer(tmp_path)
    trainer.resume()
    assert trainer.progress.step == done == 3


def test_without_a_checkpoint_there_is_nothing_to_resume(tools, tmp_path):
    assert tools.trainer(tmp_path).resume() is False


def test_a_resumed_run_counts_its_restarts(tools, tmp_path):
    for _ in range(2):
        stop(tools, tmp_path, 1)
    assert tools.go_on(tmp_path).progress.restarts == 2


def test_seconds_add_up_over_processes(tools, tmp_path, monkeypatch):
    trainer = stop(tools, tmp_path, 3)
    trainer.progress.seconds = 1000.0
    trainer._save(planned=False)
    assert 1000 < tools.go_on(tmp_path).elapsed() < 1100


@pytest.fixture
def clock(monkeypatch):
    """clock.now: seconds; it stands still. clock.slow(object, name, seconds): the method takes so long."""

    class Clock:
        now = 100.0

        def slow(self, owner, name, seconds):
            method = getattr(owner, name)

            def slowed(*arguments, **options):
                self.now += seconds
                return method(*arguments, **options)

            monkeypatch.setattr(owner, name, slowed)

    clock = Clock()
    monkeypatch.setattr("lsoftmax.engine.trainer.time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_time_is_counted_once_however_often_it_is_saved(tools, tmp_path, clock):
    trainer = tools.trainer(tmp_path)
    clock.now += 10
    for _ in range(3):
        trainer._save(planned=False)
    assert trainer.elapsed() == trainer.progress.seconds == 10


@pytest.mark.parametrize("moment", [0, 7])
def test_the_speed_is_that_of_the_steps_of_this_process_alone(tools, tmp_path, clock, moment):
    stop(tools, tmp_path, moment)
    (tmp_path / "metrics.jsonl").unlink()
    trainer = tools.trainer(tmp_path)
    trainer.resume()
    for owner, name, seconds in ((trainer, "_step", 1), (trainer, "evaluate", 100), (trainer.state, "save", 1000)):
        clock.slow(owner, name, seconds)
    tools.go(trainer)
    speeds = [json.loads(line)["images_per_s"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert set(speeds) == {8.0}


def test_the_clock_of_checkpoints_counts_minutes(tools, tmp_path, monkeypatch, clock):
    trainer, saved = tools.trainer(tmp_path, checkpoint_minutes=1.0), []
    trainer.progress.step = 1
    monkeypatch.setattr(trainer, "_save", lambda planned: saved.append(clock.now))
    for clock.now in (159.0, 161.0):
        trainer._save_if_due()
    assert saved == [161.0]


def test_a_checkpoint_falls_due_by_the_clock(tools, tmp_path):
    trainer = tools.trainer(tmp_path, checkpoint_minutes=1e-9, checkpoint_every=100)
    with pytest.raises(tools.Killed):
        tools.go(trainer, tools.StopAt(7, tools.Killed()))
    again = tools.trainer(tmp_path)
    again.resume()
    assert again.progress.step == trainer.progress.step > 0


@pytest.mark.parametrize("field", ["log_every", "eval_every", "checkpoint_every"])
def test_an_interval_may_change_between_stop_and_resume(tools, tmp_path, field):
    stop(tools, tmp_path, 7, **{"log_every": 100, "eval_every": 100, "checkpoint_every": 100})
    trainer = tools.go_on(tmp_path, **{"log_every": 100, "eval_every": 100, "checkpoint_every": 100, field: 7})
    assert trainer.progress.step == 12


@pytest.mark.parametrize("field", ["log_every", "checkpoint_every", "checkpoint_minutes"])
def test_how_a_run_is_watched_does_not_change_its_weights(tools, tmp_path, uninterrupted, field):
    trainer = tools.go(tools.trainer(tmp_path, **{field: 1 if field != "checkpoint_minutes" else 1e-9}))
    tools.check_same(trainer.backbone.state_dict(), uninterrupted["backbone"])


@pytest.mark.parametrize("moment", [5, 7])  # after a logged step, and between two
def test_another_interval_writes_no_step_twice(tools, tmp_path, moment):
    stop(tools, tmp_path, moment, **{"log_every": 5, "eval_every": 10, "checkpoint_every": 5})
    trainer = tools.trainer(tmp_path, **{"log_every": 5, "eval_every": 5, "checkpoint_every": 5})
    trainer.resume()
    tools.go(trainer)
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and all("loss" in line for line in trainer.progress.trace)


def test_a_run_that_is_to_return_from_now_on_has_where_to(tools, tmp_path):
    stop(tools, tmp_path, 9, on_divergence="stop", checkpoint_every=4)
    trainer = tools.trainer(tmp_path, on_divergence="raise_lambda", checkpoint_every=4)
    assert trainer.resume() and (tmp_path / "anchor.pt").read_bytes() == (tmp_path / "checkpoint.pt").read_bytes()


def test_an_anchor_of_before_is_not_returned_to(tools, tmp_path):
    stop(tools, tmp_path, 3, on_divergence="raise_lambda", checkpoint_every=4)
    assert (tmp_path / "anchor.pt").exists()
    stop(tools, tmp_path, 9, on_divergence="stop", checkpoint_every=4)
    assert not (tmp_path / "anchor.pt").exists()
