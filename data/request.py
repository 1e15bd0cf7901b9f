"""What is asked of a data set's reader."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of `data.load`, as every reader of the registry gets them; each looks at what concerns it."""

    root: Path
    download: bool = True
    check_integrity: bool = True
    validation: int = 0
    train_images: int | None = None
    train_part: int = 0
    classes: int | None = None
    first_class: int = 0
    # Synthetic images and faces:
    test_images: int | None = None
    # Synthetic images alone:
    like: str = "cifar10"
    # Faces alone:
    folder: str | None = None
    min_images: int = 2
    verify: tuple[str, ...] = ()
