"""Pairs that a finished network is verified on: LFW's View 2, agedb_30, cfp_fp, ... Nothing is ever chosen by them."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lsoftmax.errors import UserError
from lsoftmax.metrics.folds import FoldWarning, fold_ids

from ..mapped import MappedSet
from ..sets import ImageSet, PairSet
from .bin_pack import read_bin
from .crop import Crop, Remarks
from .decode import ImageError
from .packed import PackedFaces, check_same_preparation, is_pack
from .pairs import deal_folds, read_pairs

PAIRS = "pairs.txt"


def read_test_pairs(root: Path, name: str, training: dict[str, Any]) -> tuple[PairSet, list[str]]:
    """The set `name` below root, and what should be said of it: NAME.bin, or NAME_packed/.

    NAME.bin is a verification pack of InsightFace's form. NAME_packed/ is a pack that scripts/prepare_faces.py has made
    of the images, with their list of pairs in it as pairs.txt, in any form that scripts/verify.py reads.
    training: how the faces of the training were prepared. UserError if these were made in another way.
    """
    remarks = Remarks()
    folder, file = root / f"{name}_packed", root / f"{name}.bin"
    if is_pack(folder):
        made, images, left, right, same, folds = _of_pack(folder)
    elif file.exists():
        made, images, left, right, same, folds = _of_bin(file, training, remarks)
    else:
        raise UserError(
            f"dataset.verify={name}: there is neither {file} nor {folder}/; scripts/prepare_faces.py makes the latter, "
            f"and {folder / PAIRS} lists its pairs"
        )
    try:
        notes = [f"{name}: {note}" for note in (*check_same_preparation(training, made), *remarks.said())]
    except UserError as error:
        raise UserError(f"dataset.verify={name}: {error}") from None
    try:
        if folds is None:
            folds, dealt = deal_folds(same)
            notes += [f"{name}: a contiguous fold is not 40 to 60 % matched: folds dealt from both kinds"] * dealt
        else:
            with warnings.catch_warnings():  # of a fold that is not half and half: the evaluation says so
                warnings.simplefilter("ignore", FoldWarning)
                fold_ids(folds, torch.from_numpy(same))  # now, and not after the training
    except (UserError, ValueError) as error:
        raise UserError(f"dataset.verify={name}: {error}") from None
    columns = (torch.from_numpy(left), torch.from_numpy(right), torch.from_numpy(same))
    return PairSet(name, images, *columns, folds=torch.from_numpy(folds)), notes


Found = tuple[dict[str, Any], ImageSet, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]


def _of_pack(folder: Path) -> Found:
    pack, pairs = PackedFaces(folder), read_pairs(folder / PAIRS)
    names = pairs.names()
    row = dict(zip(names, range(len(names)), strict=True))
    images = MappedSet(pack.images, torch.from_numpy(pack.rows(names)), *_unlabelled(len(names)))
    left, right = (np.array([row[name] for name in side]) for side in (pairs.left, pairs.right))
    return pack.preparation, images, left, right, pairs.same, pairs.folds


def _of_bin(path: Path, training: dict[str, Any], remarks: Remarks) -> Found:
    """Its images are aligned already, by whom it does not say; 112 x 112 is cut to 112 x 96 where that is wanted."""
    encoded, same = read_bin(path)
    crop = Crop(size=tuple(training["size"]), align="none")
    images = ImageSet(_decoded(path, encoded, crop, remarks), *_unlabelled(len(encoded)))
    rows = np.arange(len(encoded))
    return crop.describe(), images, rows[::2], rows[1::2], same, None


def _decoded(path: Path, encoded: Sequence[bytes], crop: Crop, remarks: Remarks) -> torch.Tensor:
    images = np.empty((len(encoded), 3, *crop.size), dtype=np.uint8)
    for index, content in enumerate(encoded):
        try:
            images[index] = crop(content, remarks=remarks).transpose(2, 0, 1)
        except ImageError as error:
            raise UserError(f"{path}, image {index}: {error}") from None
    return torch.from_numpy(images)


def _unlabelled(count: int) -> tuple[torch.Tensor, tuple[str]]:
    return torch.zeros(count, dtype=torch.int64), ("unknown",)
