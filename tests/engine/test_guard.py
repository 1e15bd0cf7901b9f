"""A loss or gradient that is not finite masks this update and all later ones, without asking the host."""

import math

import pytest
import torch
from torch import nn

from lsoftmax.engine.guard import Guard, gradient_norm

CPU = torch.device("cpu")
ONE = torch.ones(())


@pytest.fixture
def parameter():
    return nn.Parameter(torch.ones(3))


@pytest.fixture
def optimizer(parameter):
    return torch.optim.SGD([parameter], lr=0.1, momentum=0.9, fused=True)


@pytest.fixture
def guard(optimizer):
    return Guard(optimizer, CPU)


def step(guard, optimizer, parameter, number, loss=1.0, gradient=1.0):
    parameter.grad = torch.full((3,), float(gradient))
    guard.watch(number, torch.tensor(float(loss)), gradient_norm([parameter]))
    optimizer.step()


def test_finite_steps_are_not_masked(guard, optimizer, parameter):
    step(guard, optimizer, parameter, 0)
    assert torch.equal(parameter.detach(), torch.full((3,), 0.9)) and guard.first_bad_step() is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_bad_step_changes_no_weight(guard, optimizer, parameter, what, bad):
    step(guard, optimizer, parameter, 0)
    before = parameter.detach().clone()
    step(guard, optimizer, parameter, 1, **{what: bad})
    assert torch.equal(parameter.detach(), before)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_good_steps_after_a_bad_one_change_no_weight(guard, optimizer, parameter, what):
    step(guard, optimizer, parameter, 0)
    before = parameter.detach().clone()
    step(guard, optimizer, parameter, 1, **{what: math.nan})
    for number in (2, 3):
        step(guard, optimizer, parameter, number)
    assert torch.equal(parameter.detach(), before)


def test_a_bad_step_changes_no_momentum(guard, optimizer, parameter):
    step(guard, optimizer, parameter, 0)
    before = optimizer.state[parameter]["momentum_buffer"].clone()
    step(guard, optimizer, parameter, 1, gradient=math.nan)
    assert torch.equal(optimizer.state[parameter]["momentum_buffer"], before)


def test_the_first_bad_step_is_remembered(guard, optimizer, parameter):
    for number, loss in enumerate([1, 1, math.nan, 1, math.inf]):
        step(guard, optimizer, parameter, number, loss=loss)
    assert guard.first_bad_step() == 2


def test_step_0_can_be_the_first_bad_one(guard, optimizer, parameter):
    step(guard, optimizer, parameter, 0, loss=math.nan)
    assert guard.first_bad_step() == 0


def test_late_steps_are_named_exactly(guard, optimizer, parameter):
    step(guard, optimizer, parameter, 15_999_999, loss=math.nan)
    assert guard.first_bad_step() == 15_999_999


def test_after_a_reset_weights_move_again(guard, optimizer, parameter):
    step(guard, optimizer, parameter, 0)
    step(guard, optimizer, parameter, 1, loss=math.nan)
    guard.reset()
    before = parameter.detach().clone()
    step(guard, optimizer, parameter, 2)
    assert guard.first_bad_step() is None and not torch.equal(parameter.detach(), before)


def test_watching_asks_nothing_of_the_device(guard, monkeypatch):
    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "cpu", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, lambda *_, name=name: pytest.fail(f"{name} waits for the device"))
    guard.watch(3, ONE, ONE)


def test_the_gradient_norm_is_that_of_all_gradients_together():
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(5))]
    parameters[0].grad, parameters[1].grad = torch.tensor([1.0, 2.0]), torch.tensor([2.0])
    assert gradient_norm(parameters).item() == 3
