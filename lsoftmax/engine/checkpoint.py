"""checkpoint.pt: everything that a run needs to go on to the same bits."""

from pathlib import Path
from typing import Any

import torch

from lsoftmax.engine.files import first_line, write_atomically
from lsoftmax.errors import UserError

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
    # A damaged file makes torch's reader and unpickler fail in a dozen ways.
    except Exception as error:
        raise UserError(f"the checkpoint {path} is damaged ({first_line(error)}); {remedy}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this version (format {FORMAT}); {remedy}")
    return state
