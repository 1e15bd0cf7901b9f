"""From a column of Table 1 to a network.

N images of C channels and H x W pixels, D features: the network maps (N, C, H, W) to (N, D).
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from models.checks import check_choice, check_counts
from models.initialization import initialize
from models.layers import MaxPool, cascade, feature_end
from models.maps import last_map, smallest_side
from models.table1 import POOLS, Column
from models.variant import variant

POOLING = ("ceil", "floor")


class Backbone(nn.Sequential):
    """A network without its classifier, its layers named as in Table 1: (N, C, H, W) -> (N, D)."""

    fc: nn.Linear

    @property
    def feature_size(self) -> int:
        """D: what a classifier on top takes in."""
        return self.fc.out_features


def build(
    name: str,
    image_shape: Sequence[int],
    *,
    width: float = 1.0,
    activation: str | None = None,
    pooling: str = "ceil",
    after_fc: str | None = None,
    filters: Sequence[int] | None = None,
    input_size: Sequence[int] | None = None,
) -> Backbone:
    """Build the column `name` of Table 1 for images of `image_shape` (C, H, W), drawing from torch's global generator.

    width: scales the filters of every group and the units of FC, but a plane (2 units) stays a plane.
    activation: prelu or relu; None is the column's own.
    pooling: how pools round an odd size: ceil as Caffe does, floor as torch does. Only MNIST (28, 14, 7) has one.
    after_fc: bn_prelu (batch normalisation and the network's activation), bn or none; None is the column's own.
    filters: those of each group that the column has, Conv0.x first, as (32, 32, 64, 128) for Fig. 7; before `width`.
    input_size: the (H, W) to which all images are resized first, bilinearly; None is the data's own size.

    Raises ValueError for an unknown name or choice, for sizes that make no network, for images too small to be pooled.
    """
    column = variant(name, width=width, activation=activation, after_fc=after_fc, filters=filters)
    check_choice("pooling", pooling, POOLING)
    check_counts("image_shape", image_shape, ("C", "H", "W"))
    if input_size is not None:
        check_counts("input_size", input_size, ("H", "W"))
    channels, *size = image_shape if input_size is None else (image_shape[0], *input_size)
    if 0 in last_map(size, column, pooling=pooling):
        given = f"image_shape={tuple(image_shape)}" if input_size is None else f"input_size={tuple(input_size)}"
        least = smallest_side(column, pooling=pooling)
        raise ValueError(f"{given}: too small for the pools of {name}, which need at least {least} x {least} pixels")
    layers = _layers(column, channels, size, pooling)
    if input_size is not None:
        layers["resize"] = nn.Upsample(tuple(size), mode="bilinear", align_corners=False)
        layers.move_to_end("resize", last=False)
    network = Backbone(layers)
    initialize(network)
    return network


def _layers(column: Column, channels: int, size: Sequence[int], pooling: str) -> OrderedDict[str, nn.Module]:
    """The layers of `column`, first to last, for images of `channels` and `size` (H, W)."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for group, (kernel, filters, convs) in column.groups.items():
        stride = column.stride if group == "conv0" else 1
        layers[group] = cascade(channels, filters, kernel, convs, stride=stride, activation=column.activation)
        if group in POOLS:
            layers[POOLS[group]] = MaxPool(ceil_mode=pooling == "ceil")
        channels = filters
    height, width = last_map(size, column, pooling=pooling)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels * height * width, column.fc)
    if column.after_fc != "none":
        layers["after_fc"] = feature_end(column.fc, after_fc=column.after_fc, activation=column.activation)
    return layers
