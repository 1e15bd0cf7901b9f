"""A class that is being given up: the least of the class weights tells, while there is time to stop the run."""

import pytest
import torch

from lsoftmax.engine.collapse import given_up_at, gives_up_a_class, has_collapsed
from lsoftmax.engine.log import RunLog


@pytest.mark.parametrize("least, gone", [(0.4, False), (0.3999, True), (0.0, True), (2.0, False)])
def test_a_class_is_given_up_whose_weight_has_less_than_a_fifth_of_the_mean(least, gone):
    assert gives_up_a_class({"weight_norm": 2.0, "weight_norm_min": least}) is gone


NOTHING = [{}, {"weight_norm": 1.0}, {"weight_norm": None, "weight_norm_min": None}]
NOTHING += [{"weight_norm": "inf", "weight_norm_min": 0.1}, {"weight_norm": 1.0, "weight_norm_min": "nan"}]


@pytest.mark.parametrize("line", NOTHING)
def test_a_line_without_the_norms_says_nothing(line):
    assert gives_up_a_class(line) is None


@pytest.mark.parametrize("line", NOTHING)
def test_what_says_nothing_changes_nothing(line):
    told = lines_of(0.9, 0.1)
    assert given_up_at([{"step": 1, **line}, told[1]]) is None
    assert given_up_at([told[0], {"step": 60, **line}, told[1]]) == 100


def lines_of(*least):
    return [{"step": 50 * n, "weight_norm": 1.0, "weight_norm_min": x} for n, x in enumerate(least, start=1)]


@pytest.mark.parametrize(
    "least, step",
    [
        ([0.9, 0.5, 0.1, 0.05], 150),
        ([0.9, 0.1, 0.9, 0.1], 100),  # it came back, and left again
        ([0.1, 0.1, 0.1], None),  # it had never been there
        ([0.1, 0.5, 0.1], 150),
        ([0.9, 0.9], None),
        ([], None),
    ],
)
def test_given_up_is_what_had_been_there(least, step):
    assert given_up_at(lines_of(*least)) == step


@pytest.fixture
def run(tools, tmp_path, capsys):
    """run(shrinks=STEP, **changes) -> what the run says of classes, one of which shrinks at that step."""

    def go(shrinks, resume=False, stop=None, **changes):
        def spoil(step, images):
            if step == shrinks:
                with torch.no_grad():
                    trainer.criterion.weight[1] *= 1e-3
            return images

        options = {"log_every": 1, "weight_decay": 0.0, "lr": lambda step: 1e-6, "steps": 12, **changes}
        trainer = tools.trainer(tmp_path / "run", loader=tools.Batches(spoil=spoil), **options)
        if resume:
            assert trainer.resume()
        with RunLog(tmp_path / "run", trainer.progress.written, trainer.plan.steps) as log:
            trainer.run(log, stop or tools.StopAt())
        return [line for line in capsys.readouterr().out.splitlines() if "given up" in line]

    return go


def test_a_run_says_once_that_a_class_is_being_given_up(run):
    (said,) = run(shrinks=5)
    assert said.startswith("step 6: a class is being given up, its weight has 0.00")
    assert said.endswith("of the mean norm: what to do stands in docs/stability.md")


@pytest.mark.parametrize("shrinks", [0, 100])
def test_it_says_nothing_of_a_class_that_was_never_there_nor_of_one_that_stays(run, shrinks):
    assert run(shrinks) == []


def test_a_line_without_the_norms_does_not_make_a_class_one_that_was_there(tools, tmp_path, capsys):
    trainer = tools.trainer(tmp_path / "run")
    with RunLog(tmp_path / "run", 0, 9) as log:
        for line in ({"step": 1}, *lines_of(0.1)):
            trainer._warn(log, line)
    assert "given up" not in capsys.readouterr().out


def test_a_run_that_goes_on_does_not_say_it_again(run):
    assert len(run(shrinks=2, steps=6)) == 1
    assert run(shrinks=2, steps=12, resume=True) == []


def test_a_run_that_goes_on_says_what_happens_then(run):
    assert run(shrinks=8, steps=6) == []
    (said,) = run(shrinks=8, steps=12, resume=True)
    assert said.startswith("step 9:")


def test_a_class_that_was_never_there_is_not_missed_after_a_resume(run):
    assert run(shrinks=0, steps=6) == []
    assert run(shrinks=0, steps=12, resume=True) == []


def test_a_return_forgets_that_it_was_said(tools, tmp_path, capsys):
    """Back at a step where all classes were there, it is said again where it happens again."""

    def spoil(step, images):
        if step == 7:
            with torch.no_grad():
                trainer.criterion.weight[1] *= 1e-3
        return images

    options = {"log_every": 1, "checkpoint_every": 5, "weight_decay": 0.0, "lr": lambda step: 1e-6}
    options |= {"lam": lambda step: 0.1 if step == 9 else 1.0, "on_divergence": "raise_lambda"}
    trainer = tools.trainer(tmp_path / "run", loss=tools.fragile(0.2), loader=tools.Batches(spoil=spoil), **options)
    with RunLog(tmp_path / "run", 0, trainer.plan.steps) as log:
        trainer.run(log, tools.StopAt())
    said = [line.split()[1] for line in capsys.readouterr().out.splitlines() if "given up" in line]
    assert said == ["8:", "8:"]


@pytest.mark.parametrize(("train_error", "collapsed"), [(45.0, False), (45.1, True)])
def test_half_of_what_chance_misses_is_just_enough(train_error, collapsed):
    record = {"num_classes": 10, "test_images": 200, "predicted_classes": 10, "train_error": train_error}
    assert has_collapsed(record) is collapsed
