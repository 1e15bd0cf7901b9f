"""What a checkpoint holds, and when it is fit to be kept."""

import math

import pytest
import torch

from lsoftmax.engine.state import Progress


@pytest.mark.parametrize(("value", "finite"), [(1.0, True), (math.inf, False), (math.nan, False)])
def test_one_weight_decides_whether_the_state_is_finite(tools, tmp_path, value, finite):
    trainer = tools.trainer(tmp_path)
    with torch.no_grad():
        trainer.criterion.weight[1, 2] = value
    assert trainer.state.is_finite() is finite


def test_running_statistics_count_too(tools, tmp_path):
    trainer = tools.trainer(tmp_path)
    trainer.backbone[1].running_var[0] = math.inf
    assert not trainer.state.is_finite()


def test_the_log_is_complete_up_to_the_step_before_a_pending_line():
    assert Progress(step=7).written == 7 and Progress(step=7, pending={"step": 7}).written == 6


def test_a_card_without_memory_is_not_blamed_on_the_checkpoint(tools, tmp_path, monkeypatch):
    tools.go(tools.trainer(tmp_path))

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("lsoftmax.engine.state.load_optimizer", full)
    with pytest.raises(torch.OutOfMemoryError):
        tools.trainer(tmp_path).resume()
