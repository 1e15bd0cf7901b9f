"""Caffe's parameter groups, one step by hand, and the learning rate."""

import pytest
import torch

import models
from lsoftmax import losses
from lsoftmax.engine.optimizer import build_optimizer, load_optimizer, set_learning_rate
from lsoftmax.engine.plan import Plan


def make_plan(**changes) -> Plan:
    values = {"steps": 10, "batch_size": 4, "lr": lambda step: 0.1, "lam": lambda step: 0.0, "momentum": 0.9}
    classifier = {"classifier_lr_factor": 1.0, "classifier_weight_decay": None}
    return Plan(**({"weight_decay": 0.01} | values | classifier | changes))


@pytest.fixture
def network():
    return models.build("mnist", (1, 28, 28), width=0.05)


@pytest.fixture
def criterion(network):
    return losses.create("lsoftmax", network.feature_size, 10)


@pytest.fixture
def with_bias(network):
    return losses.create("hinge", network.feature_size, 10)


def group_of(optimizer, parameter):
    [group] = [g for g in optimizer.param_groups if any(p is parameter for p in g["params"])]
    return group


@pytest.mark.parametrize("name", models.TABLE1)
def test_every_parameter_is_in_exactly_one_group(name):
    network = models.build(name, (3, 32, 32), width=0.05)
    criterion = losses.create("lsoftmax", network.feature_size, 10)
    grouped = [p for g in build_optimizer(network, criterion, make_plan()).param_groups for p in g["params"]]
    assert sorted(map(id, grouped)) == sorted(map(id, [*network.parameters(), *criterion.parameters()]))


def test_what_else_a_loss_learns_is_trained_without_decay(network):
    class WithTemperature(losses.LSoftmax):
        def __init__(self, *sizes, **options):
            super().__init__(*sizes, **options)
            self.log_scale = torch.nn.Parameter(torch.zeros(()))

    criterion = WithTemperature(network.feature_size, 10)
    optimizer = build_optimizer(network, criterion, make_plan(classifier_lr_factor=0.5))
    group = group_of(optimizer, criterion.log_scale)
    assert (group["lr_factor"], group["weight_decay"]) == (0.5, 0.0)


def test_kernels_and_matrices_decay(network, criterion):
    optimizer = build_optimizer(network, criterion, make_plan())
    weights = [m.weight for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert {(group_of(optimizer, w)["lr_factor"], group_of(optimizer, w)["weight_decay"]) for w in weights} == {
        (1, 0.01)
    }


def test_biases_learn_twice_as_fast_and_do_not_decay(network, criterion):
    optimizer = build_optimizer(network, criterion, make_plan())
    biases = [m.bias for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert {(group_of(optimizer, b)["lr_factor"], group_of(optimizer, b)["weight_decay"]) for b in biases} == {(2, 0)}


def test_normalisation_and_prelu_learn_at_the_common_rate_and_do_not_decay(network, criterion):
    optimizer = build_optimizer(network, criterion, make_plan())
    modules = [
        m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d | torch.nn.PReLU)
    ]
    groups = [group_of(optimizer, p) for m in modules for p in m.parameters()]
    assert {(group["lr_factor"], group["weight_decay"]) for group in groups} == {(1, 0)}


def test_the_classifier_decays_as_all_weights_unless_told(network, criterion):
    group = group_of(build_optimizer(network, criterion, make_plan()), criterion.weight)
    assert (group["lr_factor"], group["weight_decay"]) == (1, 0.01)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_the_classifier_has_its_own_rate_and_decay(network, criterion, decay):
    plan = make_plan(classifier_lr_factor=10.0, classifier_weight_decay=decay)
    group = group_of(build_optimizer(network, criterion, plan), criterion.weight)
    assert (group["lr_factor"], group["weight_decay"]) == (10, decay)


def test_the_classifier_bias_learns_at_twice_its_weights_rate_and_does_not_decay(network, with_bias):
    optimizer = build_optimizer(network, with_bias, make_plan(classifier_lr_factor=10.0))
    group = group_of(optimizer, with_bias.bias)
    assert (group["lr_factor"], group["weight_decay"]) == (20, 0)


def test_the_learning_rate_is_the_schedules_times_the_factor(network, criterion):
    optimizer = build_optimizer(network, criterion, make_plan(classifier_lr_factor=10.0))
    set_learning_rate(optimizer, 0.5)
    assert [g["lr"] for g in optimizer.param_groups] == [0.5 * g["lr_factor"] for g in optimizer.param_groups]


def test_three_steps_equal_those_by_hand(network, criterion):
    network.double(), criterion.double()
    optimizer = build_optimizer(network, criterion, make_plan(classifier_lr_factor=3.0))
    hand = {p: (p.detach().clone(), torch.zeros_like(p)) for g in optimizer.param_groups for p in g["params"]}
    for lr in (0.1, 0.1, 0.01):
        set_learning_rate(optimizer, lr)
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = torch.randn_like(p)
                value, momentum = hand[p]
                momentum = 0.9 * momentum + p.grad + group["weight_decay"] * value
                hand[p] = value - lr * group["lr_factor"] * momentum, momentum
        optimizer.step()
    for p, (value, _) in hand.items():
        torch.testing.assert_close(p.detach(), value, rtol=1e-13, atol=1e-14)  # float64, fused or not


def test_the_rates_of_a_run_follow_the_plan(tools, tmp_path):
    trainer, rates = tools.trainer(tmp_path), []
    trainer.optimizer.register_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    tools.go(trainer)
    assert rates == [trainer.plan.lr(step) for step in range(12)]


def test_the_lambdas_of_a_run_follow_the_plan(tools, tmp_path):
    trainer, lambdas = tools.trainer(tmp_path), []
    trainer.optimizer.register_step_pre_hook(lambda *_: lambdas.append(float(trainer.criterion.lam)))
    tools.go(trainer)
    assert lambdas == [trainer.plan.lam(step) for step in range(12)]


@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False), (True, True)])
def test_momentum_survives_a_change_of_memory_format(tools, tmp_path, before, after):
    first = tools.trainer(tmp_path, channels_last=before, steps=6)
    tools.go(first)
    second = tools.trainer(tmp_path, channels_last=after, steps=6)
    second.resume()
    old, new = ([t.optimizer.state[p]["momentum_buffer"] for p in t.parameters] for t in (first, second))
    assert all(torch.equal(a, b) for a, b in zip(old, new, strict=True))


@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False)])
def test_the_next_update_is_the_same_after_a_change_of_memory_format(tools, tmp_path, before, after):
    first = tools.go(tools.trainer(tmp_path, channels_last=before, steps=6))
    second = tools.trainer(tmp_path, channels_last=after, steps=6)
    second.resume()
    for trainer in (first, second):
        torch.manual_seed(5)
        for p in trainer.parameters:
            p.grad = torch.empty_like(p).copy_(torch.randn(p.shape))
        trainer.optimizer.step()
    # torch 2.11 rounds the last elements of a tensor otherwise than the first.
    rtol, atol = (1e-6, 1e-7) if torch.__version__.startswith("2.11.") else (0, 0)
    for one, other in zip(first.parameters, second.parameters, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=atol)


def test_loading_a_state_without_momentum_forgets_the_old_one(network, criterion):
    optimizer = build_optimizer(network, criterion, make_plan())
    fresh = optimizer.state_dict()
    for p in network.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    load_optimizer(optimizer, fresh)
    assert not any("momentum_buffer" in values for values in optimizer.state.values())
