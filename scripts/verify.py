"""Are two images of the same person? LFW's protocol on embeddings, or on images and the network of a run.

    python scripts/verify.py run=outputs/runs/... images=lfw pairs=pairs.txt [mirror=sum] [out=FOLDER]
    python scripts/verify.py run=outputs/runs/... pack=lfw.bin
    python scripts/verify.py embeddings=lfw.npz pairs=pairs.txt [images=lfw]

run=         a finished run's folder: its network embeds the images
images=      the folder of the images that the pairs name, or a pack of scripts/prepare_faces.py; with embeddings=, only
             for the picture of the worst pairs
pack=        a verification pack (lfw.bin, agedb_30.bin, cfp_fp.bin, ...): images and pairs in one file
embeddings=  .npz with `names` and `embeddings`, or a vector per name; without names, or as .npy, two rows per pair
pairs=       LFW's files, `path path label`, `label path path`, csv, CALFW's two lines per pair
tune=        other pairs on which the threshold is chosen (LFW's View 1: pairs=pairsDevTest.txt tune=pairsDevTrain.txt);
             without it: folds, each decided by the threshold of the others
folds=       10; without effect where the pairs file has its own
mirror=      none (default), sum or concat: features of the image and its mirror image
align=       none (default: the images are aligned) or fixed (LFW's 250 x 250, one cut for all: not the paper's way)
center=      true subtracts the mean embedding of the training folds; pca=N projects on their N principal axes
far=         0.1,0.01,0.001: false accept rates at which the true accept rate is given
out=         a folder for verification.json, roc.png, roc.svg and worst_pairs.png
Further options are the configuration's, with run=: device=, trainer.eval_batch_size=, ...
"""

import _root  # noqa: F401

# isort: split

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import ConfigError
from scripts import _cli, _pair_source, _values

if TYPE_CHECKING:
    from lsoftmax.metrics import Verification

OPTIONS = ["run", "images", "pack", "embeddings", "pairs", "tune"]
OPTIONS += ["folds", "mirror", "align", "center", "pca", "far", "out"]


def verify(arguments: list[str]) -> None:
    """See above."""
    own, overrides = _cli.split_options(arguments, OPTIONS)
    options = _Options(own)
    source = _pair_source.open_source(own, overrides)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        verification = _mended(lambda: _verify(source, options))
    remarks = source.remarks + [str(warning.message) for warning in caught]
    for remark in remarks:
        print(f"warning: {remark}", file=sys.stderr)
    print(_report(verification, source.same.tolist(), tuned=source.tune is not None))
    if "out" in own:
        _write(Path(own["out"]).expanduser(), verification, source, own, remarks)


class _Options:
    """The numbers among the options, checked before anything is read."""

    def __init__(self, own: dict[str, str]) -> None:
        self.folds = _values.whole(own, "folds", 10, least=2)
        self.pca = _values.whole(own, "pca", 0, least=0)
        self.center = _values.flag(own, "center", False)
        self.far = _values.rates(own, "far", (0.1, 0.01, 0.001))
        if "tune" in own and (self.center or self.pca):
            raise ConfigError("center= and pca= are fitted inside training folds: they do not go with tune=")
        if "tune" in own and "folds" in own:
            raise ConfigError("folds= has no effect with tune=, which gives the threshold")
        if own.get("out") == "":
            raise ConfigError("out= names no folder")


def _verify(source: "_pair_source.Source", options: _Options) -> "Verification":
    from data.faces.pairs import deal_folds
    from lsoftmax.metrics import best_threshold, verify_at, verify_embeddings
    from lsoftmax.metrics.embeddings import cosine

    left, right = source.left, source.right
    if source.tune is not None:
        threshold = best_threshold(cosine(*source.tune[:2]), source.tune[2])
        return verify_at(cosine(left, right), source.same, threshold, far=options.far)
    folds = source.folds
    if folds is None:
        folds, dealt = deal_folds(source.same.numpy(), options.folds)
        if dealt:
            source.remarks.append("a contiguous fold is not 40 to 60 % matched: folds dealt from both kinds")
    return verify_embeddings(
        left, right, source.same, folds=folds, center=options.center, pca=options.pca, far=options.far
    )


def _mended(what: Callable[[], "Verification"]) -> "Verification":
    """What the numbers themselves make impossible is the user's to mend: one line."""
    from lsoftmax.errors import UserError

    try:
        return what()
    except ValueError as error:
        raise UserError(str(error)) from error


def _report(verification: "Verification", same: list[bool], tuned: bool) -> str:
    v = verification
    how = "binomial, threshold from tune=" if tuned else f"over {len(v.thresholds)} folds; std {100 * v.std:.2f} %"
    lines = [
        f"{len(same):,} pairs, {sum(same):,} matched",
        f"accuracy {100 * v.accuracy:.2f} % +- {100 * v.standard_error:.2f} % (standard error {how})",
        f"AUC {v.auc:.5f}, EER {100 * v.eer:.2f} %",
    ]
    impostors = len(same) - sum(same)
    for far, (tar, realised) in v.tar_at_far.items():
        there = f"realised {100 * realised:.4g} %" if realised else f"none accepted: FAR < 1/{impostors:,}"
        lines.append(f"TAR {100 * tar:.2f} % at FAR {100 * far:g} % ({there})")
    return "\n".join(lines)


def _write(
    folder: Path, v: "Verification", source: "_pair_source.Source", own: dict[str, str], remarks: list[str]
) -> None:
    from lsoftmax.engine.verification import describe
    from lsoftmax.files import make_folder, write_json
    from scripts._face_curves import draw_roc
    from scripts._sheet import draw_worst

    make_folder(folder)
    numbers: dict[str, Any] = {
        "options": {key: value for key, value in own.items() if key != "out"},
        "matched": int(source.same.sum()),
        **{key: value for key, value in describe(v).items() if key != "roc"},
        "fold_accuracies": list(v.fold_accuracies),
        "remarks": remarks,
    }
    write_json(folder / "verification.json", numbers)
    draw_roc(folder, v, source.title)
    written = "verification.json, roc.png, roc.svg"
    if source.content is not None:
        draw_worst(folder / "worst_pairs.png", v, source.same.tolist(), source.content, source.name)
        written += ", worst_pairs.png"
    print(f"written to {folder}: {written}")


if __name__ == "__main__":
    sys.exit(_cli.main(verify, __doc__))
