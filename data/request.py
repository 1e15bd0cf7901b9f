"""What is asked of a data set's reader."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of `data.load`, as every reader of the registry gets them; each looks at what concerns it.

    Defaults are `data.load`'s.
    """

    root: Path
    download: bool
    check_integrity: bool
    validation: int
    train_images: int | None
    train_part: int
    classes: int | None
    first_class: int
    # Synthetic images and faces:
    test_images: int | None
    # Synthetic images alone:
    like: str
    # Faces alone:
    folder: str | None
    min_images: int
    verify: tuple[str, ...]
