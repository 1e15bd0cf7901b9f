"""Embeddings of a folder of images by the network of a run, as scripts/verify.py and identify.py read them.

    python scripts/embed.py run=outputs/runs/... images=FOLDER out=embeddings.npz [mirror=concat]

run=      a finished run's folder
images=   a folder; all its JPEG, PNG and BMP images are taken, those of its subfolders too
          (links to folders are not followed); or a pack of scripts/prepare_faces.py
out=      the .npz file: names (N,), each image's path below the folder, embeddings (N, D) float32, and ids (N,), who is
          on it: the class of a pack, else the folder it lies in; no ids if an image lies in none
mirror=   none (default), sum or concat: features of the image and its mirror image
align=    none (default: faces are aligned already) or fixed (faces of 250 x 250 as LFW's, one cut for all)
resize=   true scales images of another size than the network's, cutting off what sticks out; else they are an error
Further options are the configuration's: device=, trainer.eval_batch_size= (images at a time), ...
"""

import _root  # noqa: F401

# isort: split

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import ConfigError
from scripts import _cli, _values

if TYPE_CHECKING:
    from scripts._embed import Content

OPTIONS = ["run", "images", "out", "mirror", "align", "resize"]


def embed(arguments: list[str]) -> None:
    """See above."""
    own, overrides = _cli.split_options(arguments, OPTIONS)
    for key in ("run", "images", "out"):
        if not own.get(key):
            raise ConfigError(f"give run=FOLDER images=FOLDER out=FILE.npz: {key}= is missing")
    out = _values.new_file(own, "out", "FILE.npz")
    if out.suffix != ".npz":
        raise ConfigError(f"out must be a file FILE.npz, got {own['out']!r}")
    resize = _values.flag(own, "resize", False)
    images = _images(own)

    from lsoftmax.files import make_folder

    make_folder(out.parent)  # now: a place that takes no file should not cost the embedding first
    _write(out, images, own, overrides, resize)


@dataclass(frozen=True)
class _Images:
    """names and ids (N,): ids are None where it is not said who is on them. made: how those of a pack were prepared."""

    names: list[str]
    ids: list[str] | None
    content: "Content"
    made: dict[str, Any] | None = None


def _write(out: Path, images: _Images, own: dict[str, str], overrides: list[str], resize: bool) -> None:
    import numpy as np

    from lsoftmax.files import write_atomically
    from scripts._embed import NetworkEmbedder
    from scripts._network import open_network
    from scripts._preparation import Preparation

    network = open_network(Path(own["run"]).expanduser(), overrides)
    preparation = Preparation(network, align=own.get("align", "none"), resize=resize, made=images.made)
    embedder = NetworkEmbedder(network, preparation, mirror=own.get("mirror", "none"))
    embeddings = embedder(len(images.names), images.content, images.names.__getitem__).numpy()
    for warning in embedder.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    columns: dict[str, Any] = {"names": np.array(images.names)} | (
        {} if images.ids is None else {"ids": np.array(images.ids)}
    )
    write_atomically(out, lambda file: np.savez(file, **columns, embeddings=embeddings))
    whose = "" if images.ids is None else f", {len(set(images.ids)):,} ids"
    print(f"written to {out}: {len(images.names):,} embeddings of {embeddings.shape[1]} numbers{whose}")


def _images(own: dict[str, str]) -> _Images:
    from data.faces import PackedFaces
    from data.faces.packed import is_pack
    from scripts._embed import read_image

    folder = Path(own["images"]).expanduser()
    if is_pack(folder):
        for key in ("align", "resize"):
            if key in own:
                raise ConfigError(f"{key}={own[key]}: the images of a pack are taken as they are")
        pack = PackedFaces(folder)
        classes = pack.classes
        ids = [classes[label] for label in pack.labels.tolist()]
        return _Images(pack.names, ids, pack.images.__getitem__, pack.preparation)
    files = _find(folder)
    paths = list(files.values())
    folders = [name.rpartition("/")[0] for name in files]
    return _Images(list(files), folders if all(folders) else None, lambda i: read_image(paths[i]))


def _find(folder: Path) -> dict[str, Path]:
    """Name below the folder -> file, in the order of the names. UserError if there is none."""
    from data.faces.names import EXTENSIONS, is_image_name
    from lsoftmax.errors import UserError

    if not folder.is_dir():
        raise UserError(f"there is no folder images={folder}")
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    found = {name: path for name, path in paths.items() if is_image_name(name) and path.is_file()}
    if not found:
        raise UserError(f"images={folder} holds no image ({', '.join(EXTENSIONS)})")
    return dict(sorted(found.items()))


if __name__ == "__main__":
    sys.exit(_cli.main(embed, __doc__))
