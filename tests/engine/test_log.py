"""metrics.jsonl, TensorBoard and the terminal say the same."""

import errno
import io
import json
import math
import sys
import threading
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lsoftmax.engine import log as log_module
from lsoftmax.engine.log import RunLog, duration
from lsoftmax.errors import UserError


class Terminal(io.StringIO):
    def isatty(self):
        return True


def record(step, **more):
    return {"step": step, "loss": 1.0 / step, "lam": 5.0, "lr": 0.1, **more}


def write(folder, *records, start=0, steps=10, quiet=True):
    with RunLog(folder, start, steps, quiet=quiet) as log:
        for item in records:
            log.write(item)


def steps_of(folder):
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def scalars(folder, tag):
    board = EventAccumulator(str(folder))
    board.Reload()
    return [(event.step, event.value) for event in board.Scalars(tag)]


# --- metrics.jsonl


def test_a_record_is_a_line(tmp_path):
    write(tmp_path, record(1), record(2))
    assert (tmp_path / "metrics.jsonl").read_text().splitlines() == [json.dumps(record(n)) for n in (1, 2)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_know_are_strings(tools, tmp_path, value):
    write(tmp_path, record(1, feature_norm=value))
    assert tools.lines(tmp_path)[0]["feature_norm"] == str(value)  # refuses NaN and Infinity


def test_none_is_null(tmp_path):
    write(tmp_path, record(1) | {"lam": None})
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["lam"] is None


def test_a_line_is_on_the_disk_before_the_next_step(tmp_path):
    with RunLog(tmp_path, 0, 10, quiet=True) as log:
        log.write(record(1))
        assert steps_of(tmp_path) == [1]


@pytest.mark.parametrize(
    "torn", ["", "{", '{"step": 3, "loss": 0.', '{"step": 3', "\x00\x00\x00", '{"step": null}', "7"]
)
def test_a_torn_last_line_is_dropped(tmp_path, torn):
    write(tmp_path, record(1), record(2))
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(torn)
    write(tmp_path, record(3), start=2)
    assert steps_of(tmp_path) == [1, 2, 3]


def test_bytes_that_are_no_text_are_dropped(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n\xff\xfe\xff\n')
    write(tmp_path, record(2), start=1)
    assert steps_of(tmp_path) == [1, 2]


def test_lines_beyond_the_checkpoint_are_dropped(tmp_path):
    write(tmp_path, *[record(n) for n in range(1, 6)])
    write(tmp_path, record(4, again=1.0), start=3)
    assert steps_of(tmp_path) == [1, 2, 3, 4]


def test_the_line_of_the_checkpoint_itself_is_kept(tmp_path):
    write(tmp_path, record(1), record(2))
    write(tmp_path, start=2)
    assert steps_of(tmp_path) == [1, 2]


def test_rewinding_forgets_later_lines(tmp_path):
    with RunLog(tmp_path, 0, 10, quiet=True) as log:
        for n in (1, 2, 3):
            log.write(record(n))
        log.rewind(1)
        log.write(record(2, again=1.0))
    assert steps_of(tmp_path) == [1, 2]


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
    assert steps_of(tmp_path) == [3, 4, 5, 6, 8, 9, 10, 12]  # log every 3, evaluate every 4, save every 5


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
            log.write(record(step))
    for thread in threading.enumerate():  # the writer's last words belong to this test
        if thread is not threading.current_thread():
            thread.join(timeout=5)


def test_a_folder_that_may_not_be_written_is_an_error_that_the_user_can_mend(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(UserError):
        RunLog(tmp_path, 0, 10, quiet=True)


# --- TensorBoard


def test_tensorboard_holds_the_scalars(tmp_path):
    write(tmp_path, record(1), record(2))
    assert scalars(tmp_path, "loss/loss") == [(1, 1.0), (2, 0.5)]


def test_tensorboard_groups_curves_by_theme(tmp_path):
    write(tmp_path, record(1, train_error=1.0, test_error=2.0, feature_norm=3.0, images_per_s=4.0))
    board = EventAccumulator(str(tmp_path))
    board.Reload()
    assert set(board.Tags()["scalars"]) == {
        *("loss/loss", "schedule/lam", "schedule/lr", "error/train_error", "error/test_error"),
        *("instruments/feature_norm", "speed/images_per_s"),
    }


def test_the_error_to_choose_by_stands_with_the_errors(tmp_path):
    write(tmp_path, record(1, val_error=13.5))
    assert scalars(tmp_path, "error/val_error") == [(1, 13.5)]


def test_tensorboard_leaves_none_out(tmp_path):
    write(tmp_path, record(1) | {"lam": None})
    board = EventAccumulator(str(tmp_path))
    board.Reload()
    assert "schedule/lam" not in board.Tags()["scalars"]


def test_tensorboard_forgets_what_a_killed_run_had_not_saved(tmp_path):
    write(tmp_path, record(1), record(2), record(3))
    write(tmp_path, record(2, loss=7.0), start=1)
    assert scalars(tmp_path, "loss/loss") == [(1, 1.0), (2, 7.0)]


def test_tensorboard_holds_every_logged_step_of_a_resumed_run_once(tools, tmp_path):
    with pytest.raises(tools.Killed):
        tools.go(tools.trainer(tmp_path), tools.StopAt(11, tools.Killed()))
    tools.go_on(tmp_path)
    assert [step for step, _ in scalars(tmp_path, "loss/loss")] == steps_of(tmp_path)


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


# --- the terminal


def test_a_log_gets_lines_with_an_eta(tmp_path, capsys):
    write(tmp_path, record(1), record(2), quiet=False)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 2 and "\r" not in printed and printed.count("eta") == 2


def test_the_eta_is_reckoned_from_the_steps_of_this_process(tmp_path, capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(log_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with RunLog(tmp_path, 4, 10, quiet=False) as log:
        now[0] += 20
        log.write(record(6))
    assert "eta 40s" in capsys.readouterr().out


def test_a_line_names_the_numbers_that_a_person_follows(tmp_path, capsys):
    write(tmp_path, record(1, val_error=13.5, test_error=12.345, target_angle=70.2), quiet=False)
    printed = capsys.readouterr().out
    words = ("1/10", "loss 1.0000", "lambda 5", "lr 0.1", "val error 13.50 %  test error 12.35 %", "angle 70")
    assert all(part in printed for part in words)


def test_the_errors_of_a_line_are_told_apart(tmp_path, capsys):
    write(tmp_path, record(1, train_error=3.25, val_error=13.5, test_error=12.345), quiet=False)
    assert "  train 3.2 %  val error 13.50 %  test error 12.35 %  " in capsys.readouterr().out


def test_the_last_line_has_no_eta(tmp_path, capsys):
    write(tmp_path, record(10), quiet=False)
    assert "eta" not in capsys.readouterr().out


def test_quiet_says_nothing(tmp_path, capsys):
    with RunLog(tmp_path, 0, 10, quiet=True) as log:
        log.write(record(1))
        log.say("hello")
    assert capsys.readouterr() == ("", "")


def test_after_a_return_the_eta_is_reckoned_from_where_it_went_back_to(tmp_path, capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(log_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with RunLog(tmp_path, 0, 10, quiet=False) as log:
        now[0] += 1000
        log.rewind(4)
        now[0] += 20
        log.write(record(6))
    assert "eta 40s" in capsys.readouterr().out


def shown(monkeypatch, *arguments, **options):
    """What `write` shows on a terminal. Set here: pytest replaces stdout between fixtures and test."""
    stream = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        write(*arguments, **options, quiet=False)
    return stream.getvalue()


def test_a_terminal_gets_a_bar(tmp_path, monkeypatch):
    text = shown(monkeypatch, tmp_path, record(5))
    assert "0/10" in text and "loss 0.2000" in text and "\r" in text


def test_the_bar_moves_with_every_step(tmp_path, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", terminal)
    with RunLog(tmp_path, 0, 10) as log:
        for step in range(1, 8):
            log.tick(step)
    assert "7/10" in terminal.getvalue()


def test_above_the_bar_evaluations_alone_get_a_line(tmp_path, monkeypatch):
    text = shown(monkeypatch, tmp_path, record(5), record(6, test_error=3.0))
    assert [line for line in text.replace("\r", "\n").splitlines() if line.startswith("step ")][0].startswith(
        "step      6/10"
    )


def test_the_bar_of_a_resumed_run_starts_where_it_stood(tmp_path, monkeypatch):
    assert "7/10" in shown(monkeypatch, tmp_path, start=7)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_can_be_said(tmp_path, capsys, value):
    write(tmp_path, record(1) | {"lam": value, "loss": value}, quiet=False)
    assert str(value) in capsys.readouterr().out


class Refusing(io.StringIO):
    """A disk that is full, or a terminal that has gone."""

    def __init__(self, error, terminal):
        super().__init__()
        self.error, self.isatty = error, lambda: terminal

    def write(self, text):
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(errno.ENOSPC, "No space left"), OSError(errno.EIO, "")])
@pytest.mark.parametrize("say_first", [True, False])
def test_an_output_that_cannot_be_written_does_not_stop_the_run(tmp_path, monkeypatch, error, say_first):
    monkeypatch.setattr(sys, "stdout", Refusing(error, terminal=False))
    with RunLog(tmp_path, 0, 10) as log:
        if say_first:
            log.say("hello")
        log.write(record(1))
        log.write(record(2))
        print("and nobody else fails")
    sys.stdout.close()
    assert steps_of(tmp_path) == [1, 2]


@pytest.mark.parametrize("first", ["tick", "say", "write", "nothing"])
def test_a_terminal_that_goes_away_does_not_stop_the_run(tmp_path, monkeypatch, first):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    with RunLog(tmp_path, 0, 10) as log:
        terminal.write = Refusing(OSError(errno.EIO, ""), terminal=True).write
        if first == "tick":
            log.tick(5)
        if first == "say":
            log.say("hello")
        if first != "nothing":
            log.write(record(5, test_error=3.0))
            log.tick(6)
    sys.stdout.close()
    assert steps_of(tmp_path) == [5] * (first != "nothing")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.4, "59s"), (59.6, "1m00s"), (90, "1m30s"), (3599.6, "1h00m"), (3660, "1h01m"), (90000, "25h00m")],
)
def test_a_duration_is_short(seconds, text):
    assert duration(seconds) == text
