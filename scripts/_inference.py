"""A network as one graph from bytes to embeddings and logits, in a file that needs torch alone."""

import io
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from lsoftmax.errors import UserError
from scripts._network import Network

TOLERANCE = 1e-5  # of the largest value: float32 sums in another order
OUTPUTS = ("embeddings", "logits")


class Inference(nn.Module):
    """(N, C, H, W) uint8 or float32, pixel values from 0 to 255 -> embeddings (N, D), logits (N, classes)."""

    mean: Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.backbone = network.backbone
        self.criterion = network.criterion
        self.register_buffer("mean", network.mean)
        self.scale = network.settings.dataset.scale

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        # bytes - floats are floats, and so are floats - floats: no conversion that would fix the type of the input.
        embeddings = self.backbone((images - self.mean) / self.scale)
        return embeddings, self.criterion.logits(embeddings)


def exported(network: Network) -> bytes:
    """The content of model.pt2: torch.export.load(...).module() is the function above, for any N >= 1."""
    example = torch.zeros(2, *network.image_shape, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(Inference(network).eval(), (example,), dynamic_shapes=({0: batch},))
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)  # names the files of this machine
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()


@torch.no_grad()
def differences(content: bytes, network: Network, path: Path) -> dict[str, float]:
    """By output, the largest difference between the file and the run's own network, in units of the largest value.

    Random images as bytes and as floats, in batches of several sizes. UserError, which names `path`, beyond TOLERANCE.
    """
    loaded = torch.export.load(io.BytesIO(content)).module()
    generator = torch.Generator().manual_seed(0)
    found = dict.fromkeys(OUTPUTS, 0.0)
    for count in (1, 2, 7):
        images = torch.randint(0, 256, (count, *network.image_shape), generator=generator, dtype=torch.uint8)
        embeddings = network.backbone(network.prepare(images))
        expected = (embeddings, network.criterion.logits(embeddings))
        for given in (images, images.float()):
            for name, have, want in zip(OUTPUTS, loaded(given), expected, strict=True):
                difference = _relative(have, want)
                if difference > found[name] or math.isnan(difference):  # nan is above nothing, and stays
                    found[name] = difference
    for name, difference in found.items():
        if not difference <= TOLERANCE:
            raise UserError(
                f"{path} is not written: its {name} differ from the run's own by {difference:.1e} (relative), "
                f"more than {TOLERANCE:g}; try another version of torch"
            )
    return found


def _relative(have: Tensor, want: Tensor) -> float:
    largest = float(want.abs().max())
    difference = float((have - want).abs().max())
    return difference / largest if largest else difference
