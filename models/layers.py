"""The repeated parts of a network. A unit is convolution, batch normalisation, activation, in the authors' order."""

from collections import OrderedDict

from torch import Tensor, nn

from models.fused import fits, is_usual, max_pool, normalize_activate


class Unit(nn.Sequential):
    """Convolution, batch normalisation, activation: conv, bn, activation."""

    conv: nn.Conv2d
    bn: nn.BatchNorm2d
    activation: nn.PReLU | nn.ReLU

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        if isinstance(self.activation, nn.PReLU) and fits(maps) and is_usual(self.bn):
            return normalize_activate(maps, self.bn, self.activation.weight)
        return self.activation(self.bn(maps))  # type: ignore[no-any-return]


class MaxPool(nn.MaxPool2d):
    """2 x 2, stride 2."""

    def __init__(self, *, ceil_mode: bool) -> None:
        super().__init__(kernel_size=2, stride=2, ceil_mode=ceil_mode)

    def forward(self, maps: Tensor) -> Tensor:
        even = maps.shape[2] % 2 == 0 and maps.shape[3] % 2 == 0
        if self.training and even and fits(maps):
            return max_pool(maps)
        return super().forward(maps)  # type: ignore[no-any-return]


def cascade(channels: int, filters: int, kernel: int, convs: int, *, stride: int, activation: str) -> nn.Sequential:
    """`convs` units in a row, (N, channels, H, W) -> (N, filters, H / stride, W / stride), halves rounded up."""
    units = [_unit(channels, filters, kernel, stride, activation)]
    units += [_unit(filters, filters, kernel, 1, activation) for _ in range(convs - 1)]
    return nn.Sequential(*units)


def feature_end(features: int, *, after_fc: str, activation: str) -> nn.Sequential:
    """What follows the fully connected layer, (N, features) -> (N, features); bn_prelu is BN and *the* activation."""
    end: OrderedDict[str, nn.Module] = OrderedDict(bn=nn.BatchNorm1d(features))
    if after_fc == "bn_prelu":
        end["activation"] = _activation(activation, features)
    return nn.Sequential(end)


def _unit(channels: int, filters: int, kernel: int, stride: int, activation: str) -> Unit:
    # The bias does nothing before a batch normalisation; the authors' networks have it, and so their parameter counts.
    return Unit(
        OrderedDict(
            conv=nn.Conv2d(channels, filters, kernel, stride=stride, padding=kernel // 2),
            bn=nn.BatchNorm2d(filters),  # torch's eps and momentum are those of the authors' BN layer
            activation=_activation(activation, filters),
        )
    )


def _activation(kind: str, channels: int) -> nn.Module:
    return nn.PReLU(channels) if kind == "prelu" else nn.ReLU()
