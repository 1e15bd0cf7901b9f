"""Names of images: what counts as one, and paths that do not leave their root."""

EXTENSIONS = (".jpg", ".png", ".jpeg", ".bmp")  # the likeliest first
# Images that are not read: to pass them over in silence would lose people.
OTHERS = (".webp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".ppm", ".pgm")
OF_ANOTHER_KIND = "an image of another kind than JPEG, PNG or BMP"


def is_image_name(path: str) -> bool:
    """By its extension; files of the system's own (._x.jpg, Thumbs.db) and of __MACOSX are none."""
    name = path.replace("\\", "/")
    return name.lower().endswith(EXTENSIONS) and not any(
        part.startswith(".") or part == "__MACOSX" for part in name.split("/") if part not in ("", ".", "..")
    )


def relative(path: str) -> str | None:
    """The path with / between its parts; None if it is absolute, climbs out, or holds what no name holds."""
    path = path.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or not parts or ":" in parts[0]:
        return None
    return None if any(ord(character) < 32 for character in path) else "/".join(parts)


def tail(path: str) -> str:
    """The last two components, folder/file: what is left of a path from another machine."""
    return "/".join(path.replace("\\", "/").rsplit("/", 2)[-2:])


def parent(path: str) -> str:
    """The name of the folder it lies in; "" if in none."""
    return path.rpartition("/")[0].rpartition("/")[2]


def is_other_image(path: str) -> bool:
    """By its extension: an image of a kind that is not read."""
    return path.lower().endswith(OTHERS) and is_image_name(f"{path}{EXTENSIONS[0]}")


class Resolver:
    """Finds a list's paths among the names there are: as written, below the one top folder, or by folder/file."""

    def __init__(self, names: list[str]) -> None:
        self._position: dict[str, int] = {}
        self._by_tail: dict[str, int] = {}
        for position, name in enumerate(names):
            self._position.setdefault(name, position)
            # -1: several have this tail, which then says nothing
            self._by_tail[tail(name)] = -1 if tail(name) in self._by_tail else position

    def find(self, path: str) -> int | None:
        """The position among the names."""
        exact = relative(path)
        if exact is not None and exact in self._position:
            return self._position[exact]
        if "/" not in path.replace("\\", "/"):
            return None
        found = self._by_tail.get(tail(path), -1)
        return None if found < 0 else found
