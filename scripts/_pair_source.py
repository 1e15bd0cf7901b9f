"""Where the pairs of scripts/verify.py and their embeddings come from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from data.faces.pairs import Pairs
    from scripts._embed import Content, Embedder

ONLY_WITH_RUN = ("mirror", "align")
SEEN = (
    "the run was trained on people of LFW (dataset=lfw_dev): 2,985 of View 2's 4,281 people are among those of "
    "peopleDevTrain.txt, the number says nothing; take pairs=pairsDevTest.txt tune=pairsDevTrain.txt"
)


@dataclass
class Source:
    """left, right (P, D) floats; same (P,) bool; folds (P,) int64 or None if the source does not say.

    tune: left, right and same of the pairs for the threshold. content(i), name(i): image 2k and 2k + 1 of pair k.
    """

    left: "Tensor"
    right: "Tensor"
    same: "Tensor"
    title: str
    folds: "np.ndarray | None" = None
    tune: "tuple[Tensor, Tensor, Tensor] | None" = None
    content: "Content | None" = None
    name: Callable[[int], str] = str
    remarks: list[str] = field(default_factory=list)


def open_source(own: dict[str, str], overrides: list[str]) -> Source:
    """ConfigError for options that do not go together, UserError for files that do not."""
    if ("run" in own) == ("embeddings" in own):
        raise ConfigError("give either run=FOLDER or embeddings=FILE")
    if ("pack" in own) == ("pairs" in own):
        raise ConfigError("give either pairs=FILE or pack=FILE")
    if "pack" in own and ("tune" in own or "images" in own):
        raise ConfigError("pack=FILE holds its images and pairs: images= and tune= go with pairs=")
    if "run" in own:
        if "pairs" in own and "images" not in own:
            raise ConfigError("pairs=FILE needs the images that it names: images=FOLDER")
    else:
        for key in ONLY_WITH_RUN:
            if key in own:
                raise ConfigError(f"{key}={own[key]} goes with run=: embeddings are taken as they are")
        if overrides:
            raise ConfigError(f"{overrides[0]}: with embeddings= there is nothing to configure")
    if "pack" in own:
        return _pack(own, overrides)
    return _run(own, overrides) if "run" in own else _stored(own)


def _run(own: dict[str, str], overrides: list[str]) -> Source:
    from data.faces.pairs import read_pairs

    pairs = read_pairs(own["pairs"])
    tune = read_pairs(own["tune"]) if "tune" in own else None
    names = list(dict.fromkeys(pairs.names() + (tune.names() if tune else [])))
    images = _images(own, names)
    embedder = _embedder(own, overrides, images.made)
    rows = dict(zip(names, range(len(names)), strict=True))
    features = embedder(len(names), images.content, images.path)
    source = _of_pairs(pairs, tune, features, rows, _title(own))
    source.remarks += embedder.warnings + _seen(embedder, view2=pairs.folds is not None and pairs.of_lfw)
    return _with_pictures(source, pairs, own)


@dataclass
class _Images:
    """content(i): encoded, or the pixels of a pack; path(i): where it lies. made: how those of a pack were prepared."""

    content: "Content"
    path: Callable[[int], str]
    made: dict[str, Any] | None = None


def _images(own: dict[str, str], names: list[str]) -> _Images:
    """The images of these names."""
    from data.faces import PackedFaces
    from data.faces.files import find_images
    from data.faces.packed import is_pack
    from scripts._embed import read_image

    folder = Path(own["images"]).expanduser()
    if is_pack(folder):
        if "align" in own:
            raise ConfigError(f"align={own['align']}: the images of the pack {folder} are aligned already")
        pack = PackedFaces(folder)
        rows = pack.rows(names)
        return _Images(lambda i: pack.images[rows[i]], lambda i: f"{names[i]} of {folder}", pack.preparation)
    files = find_images(folder, names)
    return _Images(lambda i: read_image(files[i]), lambda i: str(files[i]))


def _stored(own: dict[str, str]) -> Source:
    from data.faces.features import read_features
    from data.faces.pairs import read_pairs

    pairs = read_pairs(own["pairs"])
    tune = read_pairs(own["tune"]) if "tune" in own else None
    stored = read_features(own["embeddings"])
    values = _tensor(stored.values)
    if stored.names is not None:
        wanted = pairs.names() + (tune.names() if tune else [])
        rows = _rows(stored.names, wanted, own["embeddings"])
        source = _of_pairs(pairs, tune, values, rows, _title(own))
    else:
        if tune is not None:
            raise ConfigError(f"tune= needs embeddings with names, {own['embeddings']} has none")
        source = _in_order(values, pairs.same, own["embeddings"], _title(own))
        source.folds = pairs.folds
    return _with_pictures(source, pairs, own) if "images" in own else source


def _pack(own: dict[str, str], overrides: list[str]) -> Source:
    from data.faces import read_bin
    from data.faces.features import read_features

    images, same = read_bin(own["pack"])

    def name(index: int) -> str:
        return f"image {index} of {own['pack']}"

    remarks = []
    if "run" in own:
        embedder = _embedder(own, overrides)
        values = embedder(len(images), images.__getitem__, name)
        remarks = embedder.warnings + _seen(embedder, view2=Path(own["pack"]).stem == "lfw")
    else:
        values = _tensor(read_features(own["embeddings"]).values)
    source = _in_order(values, same, own.get("embeddings", own["pack"]), _title(own))
    source.content, source.name, source.remarks = images.__getitem__, lambda index: f"image {index}", remarks
    return source


def _of_pairs(pairs: "Pairs", tune: "Pairs | None", values: "Tensor", rows: dict[str, int], title: str) -> Source:
    """Embeddings looked up by name."""
    import torch

    def sides(of: "Pairs") -> "tuple[Tensor, Tensor, Tensor]":
        left, right = (values[[rows[name] for name in side]] for side in (of.left, of.right))
        return left, right, torch.tensor(of.same)

    left, right, same = sides(pairs)
    return Source(left, right, same, title, folds=pairs.folds, tune=sides(tune) if tune else None)


def _in_order(values: "Tensor", same: "np.ndarray", path: str, title: str) -> Source:
    """Embeddings two by two."""
    import torch

    from lsoftmax.errors import UserError

    if len(values) != 2 * len(same):
        raise UserError(f"{path} has {len(values)} embeddings for {len(same)} pairs; without names it takes two a pair")
    return Source(values[::2], values[1::2], torch.tensor(same), title)


def _with_pictures(source: Source, pairs: "Pairs", own: dict[str, str]) -> Source:
    names = [name for pair in zip(pairs.left, pairs.right, strict=True) for name in pair]
    source.content, source.name = _images(own, names).content, names.__getitem__
    return source


def _rows(names: Sequence[str], wanted: list[str], path: str) -> dict[str, int]:
    """The row of each wanted name, whatever its extension. UserError that lists those without an embedding."""
    from data.faces.files import listed, rows_of
    from lsoftmax.errors import UserError

    rows = rows_of(names, wanted, path)
    missing = [name for name in dict.fromkeys(wanted) if name not in rows]
    if missing:
        raise UserError(f"{path} has no embeddings for {len(missing)} images of the pairs: {listed(missing)}")
    return rows


def _embedder(own: dict[str, str], overrides: list[str], made: dict[str, Any] | None = None) -> "Embedder":
    from scripts._embed import Embedder

    run = Path(own["run"]).expanduser()
    return Embedder(run, overrides, mirror=own.get("mirror", "none"), align=own.get("align", "none"), made=made)


def _seen(embedder: "Embedder", *, view2: bool) -> list[str]:
    """What is to be said of a network that has been trained on people of these pairs."""
    return [SEEN] * (view2 and embedder.network.settings.dataset.name == "lfw_dev")


def _tensor(values: "np.ndarray") -> "Tensor":
    import torch

    return torch.tensor(values)


def _title(own: dict[str, str]) -> str:
    return Path(own.get("pairs", own.get("pack", ""))).stem
