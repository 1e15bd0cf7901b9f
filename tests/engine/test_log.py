"""What metrics.jsonl and TensorBoard hold of a run."""

import errno
import json
import math
import threading
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lsoftmax.engine.log import RunLog
from lsoftmax.errors import UserError


def scalars(folder, tag):
    board = EventAccumulator(str(folder))
    board.Reload()
    return [(event.step, event.value) for event in board.Scalars(tag)]


# --- metrics.jsonl


def test_a_record_is_a_line(tools, tmp_path):
    tools.write(tmp_path, tools.record(1), tools.record(2))
    assert (tmp_path / "metrics.jsonl").read_text().splitlines() == [json.dumps(tools.record(n)) for n in (1, 2)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_know_are_strings(tools, tmp_path, value):
    tools.write(tmp_path, tools.record(1, feature_norm=value))
    assert tools.lines(tmp_path)[0]["feature_norm"] == str(value)  # refuses NaN and Infinity


def test_none_is_null(tools, tmp_path):
    tools.write(tmp_path, tools.record(1) | {"lam": None})
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["lam"] is None


def test_a_line_is_on_the_disk_before_the_next_step(tools, tmp_path):
    with RunLog(tmp_path, 0, 10, quiet=True) as log:
        log.write(tools.record(1))
        assert tools.steps_of(tmp_path) == [1]


@pytest.mark.parametrize(
    "torn", ["", "{", '{"step": 3, "loss": 0.', '{"step": 3', "\x00\x00\x00", '{"step": null}', "7"]
)
def test_a_torn_last_line_is_dropped(tools, tmp_path, torn):
    tools.write(tmp_path, tools.record(1), tools.record(2))
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(torn)
    tools.write(tmp_path, tools.record(3), start=2)
    assert tools.steps_of(tmp_path) == [1, 2, 3]


def test_bytes_that_are_no_text_are_dropped(tools, tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n\xff\xfe\xff\n')
    tools.write(tmp_path, tools.record(2), start=1)
    assert tools.steps_of(tmp_path) == [1, 2]


def test_lines_beyond_the_checkpoint_are_dropped(tools, tmp_path):
    tools.write(tmp_path, *[tools.record(n) for n in range(1, 6)])
    tools.write(tmp_path, tools.record(4, again=1.0), start=3)
    assert tools.steps_of(tmp_path) == [1, 2, 3, 4]


def test_the_line_of_the_checkpoint_itself_is_kept(tools, tmp_path):
    tools.write(tmp_path, tools.record(1), tools.record(2))
    tools.write(tmp_path, start=2)
    assert tools.steps_of(tmp_path) == [1, 2]


def test_rewinding_forgets_later_lines(tools, tmp_path):
    with RunLog(tmp_path, 0, 10, quiet=True) as log:
        for n in (1, 2, 3):
            log.write(tools.record(n))
        log.rewind(1)
        log.write(tools.record(2, again=1.0))
    assert tools.steps_of(tmp_path) == [1, 2]


def test_a_run_logs_all_instruments_of_the_design(tools, tmp_path):
    tools.go(tools.trainer(tmp_path))
    fields = {
        *(
            "step",
            "epoch",
            "loss",
            "lam",
            "lr",
            "train_error",
            "test_error",
            "positive_psi",
            "wins",
            "wins_with_margin",
        ),
        *("feature_norm", "feature_norm_min", "feature_norm_max", "weight_norm", "weight_norm_min", "weight_norm_max"),
        *("target_angle", "target_angle_q05", "target_angle_q50", "target_angle_q95", "gradient_norm"),
        *("images_per_s", "seconds"),
    }
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert fields <= last.keys()


def test_a_run_logs_the_steps_of_its_intervals(tools, tmp_path):
    tools.go(tools.trainer(tmp_path))
    assert tools.steps_of(tmp_path) == [3, 4, 5, 6, 8, 9, 10, 12]  # log every 3, evaluate every 4, save every 5


def test_the_test_error_is_in_the_lines_of_evaluations_alone(tools, tmp_path):
    tools.go(tools.trainer(tmp_path))
    assert [line["step"] for line in tools.lines(tmp_path) if "test_error" in line] == [4, 8, 12]


def test_seconds_grow_and_epochs_are_those_of_the_steps_done(tools, tmp_path):
    tools.go(tools.trainer(tmp_path))
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [r["seconds"] for r in records] == sorted(r["seconds"] for r in records)
    assert [r["epoch"] for r in records] == [r["step"] / 5 for r in records]


@pytest.mark.parametrize("size", [0, 500])
def test_a_full_disk_is_an_error_that_the_user_can_mend(tools, tmp_path, size):
    with pytest.raises(UserError), RunLog(tmp_path, 0, 10, quiet=True) as log, tools.file_size_limit(size):
        for step in range(1, 20):
            log.write(tools.record(step))
    for thread in threading.enumerate():  # the writer's last words belong to this test
        if thread is not threading.current_thread():
            thread.join(timeout=5)


def test_a_folder_that_may_not_be_written_is_an_error_that_the_user_can_mend(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(UserError):
        RunLog(tmp_path, 0, 10, quiet=True)


# --- TensorBoard


def test_tensorboard_holds_the_scalars(tools, tmp_path):
    tools.write(tmp_path, tools.record(1), tools.record(2))
    assert scalars(tmp_path, "loss/loss") == [(1, 1.0), (2, 0.5)]


def test_tensorboard_groups_curves_by_theme(tools, tmp_path):
    tools.write(tmp_path, tools.record(1, train_error=1.0, test_error=2.0, feature_norm=3.0, images_per_s=4.0))
    board = EventAccumulator(str(tmp_path))
    board.Reload()
    assert set(board.Tags()["scalars"]) == {
        *("loss/loss", "schedule/lam", "schedule/lr", "error/train_error", "error/test_error"),
        *("instruments/feature_norm", "speed/images_per_s"),
    }


def test_the_error_to_choose_by_stands_with_the_errors(tools, tmp_path):
    tools.write(tmp_path, tools.record(1, val_error=13.5))
    assert scalars(tmp_path, "error/val_error") == [(1, 13.5)]


def test_tensorboard_leaves_none_out(tools, tmp_path):
    tools.write(tmp_path, tools.record(1) | {"lam": None})
    board = EventAccumulator(str(tmp_path))
    board.Reload()
    assert "schedule/lam" not in board.Tags()["scalars"]


def test_tensorboard_forgets_what_a_killed_run_had_not_saved(tools, tmp_path):
    tools.write(tmp_path, tools.record(1), tools.record(2), tools.record(3))
    tools.write(tmp_path, tools.record(2, loss=7.0), start=1)
    assert scalars(tmp_path, "loss/loss") == [(1, 1.0), (2, 7.0)]


def test_tensorboard_holds_every_logged_step_of_a_resumed_run_once(tools, tmp_path):
    with pytest.raises(tools.Killed):
        tools.go(tools.trainer(tmp_path), tools.StopAt(11, tools.Killed()))
    tools.go_on(tmp_path)
    assert [step for step, _ in scalars(tmp_path, "loss/loss")] == tools.steps_of(tmp_path)


def test_only_what_tensorboards_thread_cannot_write_is_told_elsewhere(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    before = threading.excepthook
    writer = type("_AsyncWriterThread", (), {})()
    with RunLog(tmp_path, 0, 10, quiet=True):
        for error, thread in ((OSError(), writer), (ValueError(), writer), (OSError(), None)):
            threading.excepthook(SimpleNamespace(exc_value=error, thread=thread))
    assert [type(args.exc_value) for args in told] == [ValueError, OSError] and threading.excepthook is before


@pytest.mark.parametrize("first", [KeyError, None])
def test_what_closing_says_does_not_hide_what_went_wrong_before(tmp_path, monkeypatch, first):
    def full(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(first or UserError), RunLog(tmp_path, 0, 10, quiet=True):
        monkeypatch.setattr("lsoftmax.engine.log.SummaryWriter.close", full)
        if first is not None:
            raise first
