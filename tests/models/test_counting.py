"""Counting: right on networks small enough to count by hand, and without a trace on the network counted."""

import pytest
import torch
from torch import nn

import models


@pytest.fixture
def network() -> models.Backbone:
    return models.build("cifar10", (3, 32, 32), width=0.05)


def test_parameters_are_weights_biases_and_slopes():
    layers = nn.Sequential(nn.Conv2d(2, 3, 5), nn.BatchNorm2d(3), nn.PReLU(3), nn.Flatten(), nn.Linear(12, 7))
    assert models.count_parameters(layers) == (5 * 5 * 2 * 3 + 3) + 2 * 3 + 3 + (12 * 7 + 7)


def test_multiply_adds_count_each_weight_once_per_position():
    layers = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(3 * 4 * 5, 7))
    assert models.multiply_adds(layers, (2, 8, 10)) == 3 * 3 * 2 * 3 * 4 * 5 + 60 * 7


def test_a_layer_used_twice_counts_twice():
    layer = nn.Conv2d(2, 2, 3, padding=1)
    assert models.multiply_adds(nn.Sequential(layer, layer), (2, 4, 4)) == 2 * (3 * 3 * 2 * 2 * 16)


def test_resizing_costs_no_multiply_adds(network):
    resized = models.build("cifar10", (3, 8, 8), width=0.05, input_size=(32, 32))
    assert models.multiply_adds(resized, (3, 8, 8)) == models.multiply_adds(network, (3, 32, 32))


def test_counting_needs_no_particular_dtype(network):
    assert models.multiply_adds(network.double(), (3, 32, 32)) == models.multiply_adds(network.half(), (3, 32, 32))


@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_the_network_as_it_was(network, training):
    network.train(training)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    models.multiply_adds(network, (3, 32, 32))
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert all(layer.training is training and not layer._forward_hooks for layer in network.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())


def test_counting_draws_no_random_numbers(network):
    before = torch.get_rng_state()
    models.multiply_adds(network, (3, 32, 32))
    models.count_parameters(network)
    assert torch.equal(torch.get_rng_state(), before)


def test_output_values_are_what_the_layers_put_out():
    network = models.build("mnist_2d", (1, 28, 28))
    counted, seen = models.output_values(network, (1, 28, 28)), []
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(lambda _, __, output: seen.append(output[0].numel()))
    network.eval()(torch.zeros(3, 1, 28, 28))
    assert counted == sum(seen) > 0
