"""Missing files are downloaded by torchvision, which is imported here and nowhere else."""

import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from lsoftmax.errors import UserError, one_line

from .integrity import existing

_TIMEOUT = 20.0  # seconds without an answer; torchvision would wait for ever
_library: Any = None  # the operators of _import_datasets live as long as this does


def ensure_files(dataset: str, root: Path, files: Sequence[str], *, download: bool) -> None:
    """Make sure that `files`, relative to `root`, exist; NAME.gz stands for NAME.

    dataset: torchvision's class that downloads them. Files that are there already stay as they are.
    Raises UserError if one is missing and may not, or cannot, be downloaded.
    """
    missing = [file for file in files if existing(root / file) is None]
    if not missing:
        return
    if not download:
        raise UserError(
            f"{root / missing[0]} is missing: download it with data_download=true, or point data_root=... at a folder "
            f"that holds {missing[0]}; dataset=mnist5k needs no download"
        )
    print(f"downloading {dataset} to {root}", file=sys.stderr, flush=True)
    try:
        _download(dataset, root, missing)
    except Exception as error:  # network, disk, archive, torchvision itself: all of it is for the user to mend
        raise UserError(
            f"{dataset} could not be downloaded to {root} ({_one_line(error)}): try again, or point data_root=... at a "
            f"folder that holds {missing[0]}; dataset=mnist5k needs no download"
        ) from error


def _download(dataset: str, root: Path, files: Sequence[str]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    # In a folder of its own, removed afterwards: what is interrupted is never taken for a file of the set, and two runs
    # that download at once do not write into each other's files.
    with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as folder:
        with _impatient(), _quiet():
            getattr(_import_datasets(), dataset)(folder, download=True)  # checks torchvision's checksums
        for file in files:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            os.replace(Path(folder, file), root / file)


def _import_datasets() -> Any:
    """`torchvision.datasets`, also beside a CPU build of torch.

    The published Linux wheel of torchvision needs CUDA libraries. Without them its operators stay undefined and its
    import fails on the first mention of `torchvision::nms`; declared without an implementation, they let it pass.
    """
    global _library
    try:
        import torchvision.datasets
    except RuntimeError as error:
        if "torchvision::nms" not in str(error) or _library is not None:
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # the half that was imported
        _library = cast(Any, torch.library).Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            _library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision.datasets
    return torchvision.datasets


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Progress bars are for who watches: no output at all unless stderr is a terminal."""
    if sys.stderr.isatty():
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def _one_line(error: Exception) -> str:
    text = one_line(error)
    return text if len(text) <= 200 else f"{text[:197]}..."
