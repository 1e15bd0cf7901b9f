"""He initialisation, Caffe's `msra` filler."""

from torch import nn


def initialize(network: nn.Module) -> None:
    """Draw conv and linear weights from N(0, 2 / fan_in) with torch's global generator, and set their biases to 0.

    Batch normalisation (1 and 0) and PReLU (0.25) keep what torch gives them: Caffe's own. As in Caffe the standard
    deviation has no term for the PReLU slope.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
