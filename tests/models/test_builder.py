"""What `build` returns, and that every option changes what it says and nothing else."""

import pytest
import torch
from torch import nn

import models

IMAGE_SHAPES = [(1, 28, 28), (3, 32, 32), (3, 112, 96)]


def small(name: str = "cifar10", image_shape: tuple[int, ...] = (3, 32, 32), **options) -> models.Backbone:
    """A network narrow enough to run in a moment."""
    return models.build(name, image_shape, **{"width": 0.05, **options})


def kinds(network: nn.Module) -> set[type[nn.Module]]:
    return {type(layer) for layer in network.modules()}


@pytest.mark.parametrize("image_shape", IMAGE_SHAPES)
@pytest.mark.parametrize("name", models.TABLE1)
def test_every_column_maps_images_of_every_data_set_to_features(name, image_shape):
    network = small(name, image_shape)
    assert network(torch.randn(2, *image_shape)).shape == (2, network.feature_size)


@pytest.mark.parametrize("name", models.TABLE1)
def test_the_feature_size_is_the_fully_connected_entry_of_the_table(name):
    with torch.device("meta"):
        assert models.build(name, (3, 32, 32)).feature_size == models.TABLE1[name].fc


def test_layers_stand_in_the_order_of_the_table():
    layers = [name for name, _ in small("face", (3, 112, 96), after_fc="bn").named_children()]
    assert layers[:7] == ["conv0", "conv1", "pool1", "conv2", "pool2", "conv3", "pool3"]
    assert layers[7:] == ["conv4", "flatten", "fc", "after_fc"]


def test_a_unit_is_convolution_then_normalisation_then_activation():
    unit = small().conv1[0]
    assert [type(layer) for layer in unit] == [nn.Conv2d, nn.BatchNorm2d, nn.PReLU]


def test_names_in_the_state_dict_are_stable():
    state = small("mnist", (1, 28, 28)).state_dict()
    assert {key for key in state if key.startswith(("conv1.2.", "fc.", "after_fc."))} == {
        *(f"conv1.2.{key}" for key in ("conv.weight", "conv.bias", "bn.weight", "bn.bias", "activation.weight")),
        *(f"conv1.2.bn.{key}" for key in ("running_mean", "running_var", "num_batches_tracked")),
        *("fc.weight", "fc.bias", "after_fc.bn.weight", "after_fc.bn.bias", "after_fc.activation.weight"),
        *(f"after_fc.bn.{key}" for key in ("running_mean", "running_var", "num_batches_tracked")),
    }


def test_weights_of_one_network_load_into_another_of_the_same_options():
    first, second = small().eval(), small().eval()
    second.load_state_dict(first.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(first(images), second(images))


def test_one_training_step_gives_every_parameter_a_finite_gradient():
    network = small("cifar10")
    network(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


def test_width_scales_every_layer():
    network = small("face", (3, 112, 96), width=0.5)
    outputs = {key: layer.out_channels for key, layer in network.named_modules() if isinstance(layer, nn.Conv2d)}
    firsts = [outputs[f"conv{group}.0.conv"] for group in range(5)]
    assert (firsts, network.feature_size) == ([32, 32, 128, 128, 128], 256)


def test_width_rounds_to_the_nearest_count():
    assert small("cifar10", width=0.26).conv0[0].conv.out_channels == 17  # 64 * 0.26 = 16.64


def test_width_leaves_at_least_one_filter():
    assert small(width=1e-6).conv0[0].conv.out_channels == 1


@pytest.mark.parametrize("width", [0.1, 2.0])
def test_width_leaves_a_plane_a_plane(width):
    with torch.device("meta"):
        assert small("mnist_2d", (1, 28, 28), width=width).feature_size == 2


def test_filters_replace_those_of_the_table_before_width_scales_them():
    network = small(filters=[32, 48, 64, 128], width=0.25)
    assert [network.get_submodule(f"conv{group}.0.conv").out_channels for group in range(4)] == [8, 12, 16, 32]


def test_filters_leave_the_depth_and_the_features_alone():
    network = small(filters=[1, 1, 1, 1], width=1.0)
    assert (len(network.conv1), network.feature_size) == (4, 256)


def test_filters_of_a_column_without_conv0_start_at_conv1():
    network = small("mnist_2d", (1, 28, 28), filters=[2, 3, 4], width=1.0)
    assert [network.get_submodule(f"conv{group}.1.conv").out_channels for group in (1, 2, 3)] == [2, 3, 4]


def test_the_activation_replaces_the_columns_own_everywhere():
    assert nn.PReLU not in kinds(small("cifar10", activation="relu"))
    assert nn.ReLU not in kinds(small("caffe_cifar10", activation="prelu"))


def test_after_fc_takes_the_networks_activation():
    assert isinstance(small("caffe_mnist", (1, 28, 28)).after_fc.activation, nn.ReLU)
    assert isinstance(small("mnist", (1, 28, 28)).after_fc.activation, nn.PReLU)


@pytest.mark.parametrize(
    ("after_fc", "layers"), [("bn_prelu", [nn.BatchNorm1d, nn.PReLU]), ("bn", [nn.BatchNorm1d]), ("none", [])]
)
@pytest.mark.parametrize("name", ["cifar10", "face"])
def test_after_fc_decides_what_follows_the_fully_connected_layer(name, after_fc, layers):
    network = small(name, after_fc=after_fc)
    children = dict(network.named_children())
    assert [type(layer) for layer in children.get("after_fc", [])] == layers


@pytest.mark.parametrize(("pooling", "side"), [("ceil", 4), ("floor", 3)])
def test_pooling_decides_how_7_pixels_are_halved(pooling, side):
    network = small("mnist", (1, 28, 28), pooling=pooling, filters=[1, 1, 1, 1], width=1.0)
    assert network.fc.in_features == side * side


def test_training_moves_the_running_statistics_and_evaluation_does_not():
    network, images = small(), torch.randn(4, 3, 32, 32)
    statistics = network.conv0[0].bn.running_mean
    network.eval()(images)
    assert not statistics.any()
    network.train()(images)
    assert statistics.all()


def test_in_evaluation_the_features_of_an_image_do_not_depend_on_its_batch():
    network, images = small().eval(), torch.randn(4, 3, 32, 32)
    # Another batch size may sum in another order: rounding, no more.
    torch.testing.assert_close(network(images)[:1], network(images[:1]), rtol=1e-4, atol=1e-5)


def test_in_training_the_features_of_an_image_depend_on_its_batch():
    network, images = small(), torch.randn(4, 3, 32, 32)
    assert not torch.allclose(network(images)[:2], network(images[:2]), rtol=1e-2)
