"""model.safetensors: backbone, criterion and the mean of the inputs, with what is needed to use them."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lsoftmax.errors import UserError, first_line
from lsoftmax.files import write_atomically

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def save_weights(path: Path, backbone: nn.Module, criterion: nn.Module, mean: Tensor, metadata: dict[str, Any]) -> None:
    """Names are backbone.*, criterion.weight, criterion.bias and input.mean; metadata values are stored as JSON."""
    from safetensors.torch import save  # here: only a run's end needs it

    tensors = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    tensors |= {f"criterion.{name}": value for name, value in criterion.state_dict().items()}
    tensors["input.mean"] = mean
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    data = _ordered(save(tensors, {key: json.dumps(value) for key, value in metadata.items()}))
    write_atomically(path, lambda file: file.write(data))


def _ordered(data: bytes) -> bytes:
    """The same file with its metadata in order: safetensors shuffles it, and equal runs should give equal bytes."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors stay aligned
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, and the metadata. UserError if the file is missing, damaged or of another kind."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            metadata = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
    except FileNotFoundError as error:
        raise UserError(f"there is no weights file {path}") from error
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({first_line(error)})") from error
    return tensors, metadata


def load_into(module: nn.Module, tensors: dict[str, Tensor], prefix: str, path: Path) -> None:
    """Fill the module from the tensors named `prefix.*`. UserError that names the first one that does not fit."""
    own = module.state_dict()
    given = {name.removeprefix(prefix + "."): value for name, value in tensors.items() if name.startswith(prefix + ".")}
    for name, value in own.items():
        if name not in given:
            raise UserError(f"{path} lacks {prefix}.{name}: it belongs to another network (choose model= and loss=)")
        if given[name].shape != value.shape:
            shapes = f"{tuple(given[name].shape)}, the network needs {tuple(value.shape)}"
            raise UserError(f"{path}: {prefix}.{name} has shape {shapes} (choose dataset=, model= and model.width=)")
        if given[name].dtype not in (FLOATS if value.is_floating_point() else (value.dtype,)):
            raise UserError(f"{path}: {prefix}.{name} has dtype {given[name].dtype}, the network needs {value.dtype}")
        if not torch.isfinite(given[name]).all():
            raise UserError(f"{path}: {prefix}.{name} holds values that are not finite")
    for name in given:
        if name not in own:
            raise UserError(f"{path} holds {prefix}.{name}, which the network does not have (choose model= and loss=)")
    module.load_state_dict(given)
