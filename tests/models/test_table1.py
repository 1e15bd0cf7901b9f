"""Table 1 against counts that were made from its layer lists, independently of the builder."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import models

GOLDEN = json.loads((Path(__file__).resolve().parents[2] / "tests/golden/networks_golden.json").read_text())["networks"]
each_network = pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden['network']}-{golden['pooling']}")


def build(golden: dict[str, Any]) -> models.Backbone:
    # On the meta device: counts and shapes need no weights.
    name = golden["network"].removesuffix("_112x96")
    with torch.device("meta"):
        return models.build(name, golden["input"], pooling=golden["pooling"])


def elements(network: nn.Module, kind: type[nn.Module], parameter: str) -> int:
    layers = [layer for layer in network.modules() if isinstance(layer, kind)]
    return sum(layer.get_parameter(parameter).numel() for layer in layers)


def test_the_golden_file_covers_every_column_with_both_poolings():
    covered = {(golden["network"].removesuffix("_112x96"), golden["pooling"]) for golden in GOLDEN}
    assert covered == {(name, pooling) for name in models.TABLE1 for pooling in ("ceil", "floor")}


@each_network
def test_backbone_and_classifier_have_the_golden_number_of_parameters(golden):
    network = build(golden)
    assert models.count_parameters(network) == golden["parameters_backbone"]
    classifier = golden["num_classes"] * network.feature_size
    assert models.count_parameters(network) + classifier == golden["parameters_total"]


@each_network
def test_parameters_are_the_golden_ones_kind_by_kind(golden):
    network = build(golden)
    assert elements(network, nn.Conv2d, "weight") == golden["conv_weights"]
    assert elements(network, nn.Conv2d, "bias") == golden["conv_biases"]
    assert 2 * elements(network, nn.BatchNorm2d, "weight") == golden["conv_bn"]
    assert elements(network[:-1], nn.PReLU, "weight") == golden["conv_prelu"]
    assert (network.fc.weight.numel(), network.fc.bias.numel()) == (golden["fc_weights"], golden["fc_bias"])
    after_fc = models.count_parameters(network.after_fc) if hasattr(network, "after_fc") else 0
    assert after_fc == golden["fc_bn_and_act"]


@each_network
def test_multiply_adds_are_the_golden_ones(golden):
    expected = golden["multiply_adds_conv"] + golden["multiply_adds_fc"]
    assert models.multiply_adds(build(golden), golden["input"]) == expected


@each_network
def test_maps_after_each_group_and_its_pool_have_the_golden_shapes(golden):
    network = build(golden)
    maps: dict[str, list[int]] = {}
    x = torch.empty(2, *golden["input"], device="meta")
    for name, layer in network.named_children():
        x = layer(x)
        if name.startswith(("conv", "pool")):
            maps[name[-1]] = list(x.shape[1:])  # a pool has the number of its group, and the last word
    assert list(maps.values()) == golden["maps_after_group"]
    assert network.fc.in_features == golden["flat"]


@each_network
def test_a_column_states_the_golden_groups(golden):
    column = models.TABLE1[golden["network"].removesuffix("_112x96")]
    expected = [(group["kernel"], group["filters"], group["convs"]) for group in golden["groups"] if group]
    assert list(column.groups.values()) == expected
    assert (column.fc, column.activation) == (golden["fc_width"], golden["activation"])


def test_face_alone_strides_and_in_its_first_convolution_alone():
    with torch.device("meta"):
        networks = {name: models.build(name, (3, 112, 96)) for name in models.TABLE1}
    strided = [
        (name, key)
        for name, network in networks.items()
        for key, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d) and layer.stride != (1, 1)
    ]
    assert strided == [("face", "conv0.0.conv")]


@pytest.mark.parametrize(
    ("filters", "total"),
    [
        ((32, 32, 64, 128), 1_214_432),
        ((48, 48, 96, 192), 2_331_344),
        ((64, 64, 128, 256), 3_789_248),
        ((96, 96, 192, 384), 7_728_032),
    ],
)
def test_the_networks_of_figure_7_have_their_known_sizes(filters, total):
    with torch.device("meta"):
        network = models.build("cifar10", (3, 32, 32), filters=filters)
    assert models.count_parameters(network) + 10 * network.feature_size == total
