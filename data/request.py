"""What is asked of a data set's reader."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of `data.load`, as every reader of the registry gets them; most look at the first three only."""

    root: Path
    download: bool = True
    check_integrity: bool = True
    validation: int = 0
    train_images: int | None = None
    classes: int | None = None
    # Synthetic images alone:
    like: str = "cifar10"
    test_images: int | None = None
