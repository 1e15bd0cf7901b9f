"""Identity folders: root/ID/NNN.jpg."""

import os
from pathlib import Path

from lsoftmax.errors import UserError

from .decode import IMAGE_BYTES, ImageError
from .names import EXTENSIONS, OF_ANOTHER_KIND, is_image_name, is_other_image


class FolderImages:
    """`names` (ID/file, sorted byte by byte) and `read(name)`.

    Levels with one single folder and no image are passed through on the way down. `left_out` lists empty files, images
    of other kinds, and folders within those of people.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.left_out: list[tuple[str, str]] = []
        self.sizes: list[int] = []
        self.names: list[str] = []
        try:
            self.root = _descended(self.path)
            for folder in sorted((entry for entry in _entries(self.root) if entry.is_dir()), key=_by_bytes):
                self._add(folder)
        except OSError as error:
            raise UserError(f"{error.filename or path}: cannot be read ({error.strerror or error})") from None

    def read(self, name: str) -> bytes:
        """The file's bytes; ImageError if they cannot be read."""
        try:
            with open(f"{self.root}/{name}", "rb", buffering=0) as file:
                return file.read()
        except OSError as error:
            raise ImageError(f"cannot be read ({error.strerror or error})") from None

    def _add(self, folder: "os.DirEntry[str]") -> None:
        for entry in sorted(_entries(folder.path), key=_by_bytes):
            name = f"{folder.name}/{entry.name}"
            if entry.is_dir():
                self.left_out.append((name, "a folder within a folder of images"))
            elif is_other_image(entry.name):
                self.left_out.append((name, OF_ANOTHER_KIND))
            if not is_image_name(entry.name) or not entry.is_file():
                continue
            size = entry.stat().st_size
            if size == 0:
                self.left_out.append((name, "empty"))
            elif size > IMAGE_BYTES:
                self.left_out.append((name, f"{size:,} bytes, more than an image has"))
            elif any(ord(character) < 32 for character in name):
                self.left_out.append((name, "a control character in its name"))
            else:
                self.names.append(name)
                self.sizes.append(size)


def _descended(path: Path) -> Path:
    """Down while there is one folder and no image."""
    while True:
        entries = _entries(path)
        folders = [entry for entry in entries if entry.is_dir()]
        has_image = any(entry.name.lower().endswith(EXTENSIONS) for entry in entries)
        if len(folders) != 1 or has_image or not any(entry.is_dir() for entry in _entries(folders[0].path)):
            return path
        path = Path(folders[0].path)


def _entries(path: str | Path) -> list["os.DirEntry[str]"]:
    with os.scandir(path) as entries:
        return [entry for entry in entries if not entry.name.startswith(".") and entry.name != "__MACOSX"]


def _by_bytes(entry: "os.DirEntry[str]") -> bytes:
    return os.fsencode(entry.name)
