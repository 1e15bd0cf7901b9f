"""He initialisation: the standard deviation of every weight, the constants, and where the random numbers come from."""

import math

import pytest
import torch
from torch import nn

import models


@pytest.fixture(scope="module")
def network() -> models.Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return models.build("cifar10", (3, 32, 32))


def weights(network: nn.Module) -> list[torch.Tensor]:
    return [layer.weight.detach() for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def test_weights_have_the_he_standard_deviation(network):
    for weight in weights(network):
        expected = math.sqrt(2 / weight[0].numel())
        error = expected / math.sqrt(2 * weight.numel())  # the sampling error of a standard deviation
        assert abs(weight.std().item() - expected) < 5 * error


def test_weights_have_mean_zero(network):
    for weight in weights(network):
        assert abs(weight.mean().item()) < 5 * weight.std().item() / math.sqrt(weight.numel())


def test_weights_are_normal_and_not_uniform(network):
    # Of a normal distribution 4.55 % lie outside two deviations; a uniform one ends at 1.73 of them.
    weight = network.fc.weight.detach()
    outside = (weight.abs() > 2 * weight.std()).double().mean().item()
    assert outside == pytest.approx(0.0455, abs=0.002)


def test_biases_are_zero(network):
    assert not any(p.any() for name, p in network.named_parameters() if name.endswith(".bias"))


def test_every_channel_has_a_prelu_slope_of_its_own_at_a_quarter(network):
    slopes = [layer.weight for layer in network.modules() if isinstance(layer, nn.PReLU)]
    assert {len(slope) for slope in slopes} == {64, 96, 128, 256}
    assert all((slope == 0.25).all() for slope in slopes)


def test_batch_normalisation_starts_as_the_identity_with_the_authors_constants(network):
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert all((layer.weight == 1).all() for layer in layers)
    assert {(layer.eps, layer.momentum) for layer in layers} == {(1e-5, 0.1)}


def build_seeded(seed: int) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return models.build("mnist", (1, 28, 28), width=0.1).state_dict()


def test_the_same_seed_gives_the_same_network():
    first, second = build_seeded(3), build_seeded(3)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_another_seed_gives_another_network():
    assert not torch.equal(build_seeded(3)["fc.weight"], build_seeded(4)["fc.weight"])
