"""checkpoint.pt: everything that a run needs to go on to the same bits."""

from pathlib import Path
from typing import Any

import torch

from lsoftmax.engine.device import is_memory_error
from lsoftmax.errors import UserError, first_line
from lsoftmax.files import write_atomically

FORMAT = 1
ANCHOR = "anchor.pt"  # beside it: the last planned checkpoint, to return to


def save(path: Path, state: dict[str, Any]) -> None:
    """Plain containers and tensors only, readable with weights_only=True. UserError if the disk refuses."""
    write_atomically(path, lambda file: torch.save({"format": FORMAT, **state}, file))


def load(path: Path) -> dict[str, Any]:
    """The saved state with its tensors on the CPU. UserError for a damaged file or one of another format."""
    remedy = f"delete {path} to start this run anew"
    try:
        # On the CPU: load_state_dict copies to each parameter's device, and generator states must stay here.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise UserError(f"the checkpoint {path} cannot be read: {error.strerror}") from error
    except Exception as error:
        if is_memory_error(error):  # no fault of the checkpoint
            raise
        # A damaged file makes torch's reader and unpickler fail in a dozen ways.
        raise UserError(f"the checkpoint {path} is damaged ({first_line(error)}); {remedy}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this version (format {FORMAT}); {remedy}")
    return state
