"""Who is it, among how many strangers? The protocol of MegaFace on features in files.

    python scripts/identify.py probes=facescrub.npz distractors=flickr.npy sizes=10,1000,100000 [out=FOLDER]
    python scripts/identify.py probes=FOLDER probe_list=facescrub.json distractors=FOLDER distractor_list=megaface.json

probes=, distractors=   .npy, .npz with `embeddings` (and `ids`), or a folder of OpenCV matrices (NAME.bin)
probe_list=, distractor_list=   MegaFace's lists: JSON {"path": [...], "id": [...]} of features below the folder
suffix=      .bin: what follows a path of such a list in the name of its feature
ids=         a text file with one identity a line, for probes that do not say (an id is else that of the list or the
             .npz, or the folder in which a matrix lies)
sizes=       all: nested sets, the first so many of the distractors as they are shuffled with seed=
seed=        0; none keeps the order of the list or file
ranks=       1,10: the k of the rank-k rates
far=         1e-6: false accept rates at which the true accept rate is given
out=         a folder for identification.json, cmc.png and cmc.svg
"""

import _root  # noqa: F401

# isort: split

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import ConfigError
from scripts import _cli, _values

if TYPE_CHECKING:
    import numpy as np

    from data.faces.features import Features
    from lsoftmax.metrics import Identification

OPTIONS = ["probes", "distractors", "probe_list", "distractor_list", "suffix", "ids"]
OPTIONS += ["sizes", "seed", "ranks", "far", "out"]


def identify(arguments: list[str]) -> None:
    """See above."""
    own, rest = _cli.split_options(arguments, OPTIONS)
    if rest:
        raise ConfigError(f"unknown option {rest[0]}; see python scripts/identify.py --help")
    for key in ("probes", "distractors"):
        if key not in own:
            raise ConfigError(f"give probes=FILE and distractors=FILE: {key}= is missing")
    ranks = _values.wholes(own, "ranks", (1, 10), least=1)
    far = _values.rates(own, "far", (1e-6,))
    sizes = _values.wholes(own, "sizes", (), least=1)
    seed = None if own.get("seed") == "none" else _values.whole(own, "seed", 0, least=0)

    probes = _features(own, "probes", "probe_list")
    ids = _ids(own, probes)
    distractors = _features(own, "distractors", "distractor_list")
    found = _measure(probes, ids, distractors, sizes, seed, ranks, far, own)
    print(_report(found))
    if "out" in own:
        _write(Path(own["out"]).expanduser(), found, own)


def _features(own: dict[str, str], key: str, listing: str) -> "Features":
    from data.faces.features import read_features, read_listed

    if listing in own:
        return read_listed(own[key], own[listing], own.get("suffix", ".bin"))
    return read_features(own[key])


def _ids(own: dict[str, str], probes: "Features") -> tuple[str, ...]:
    from lsoftmax.errors import UserError

    if "ids" in own:
        try:
            ids = tuple(Path(own["ids"]).expanduser().read_text().split("\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read ids={own['ids']} ({error})") from error
        ids = tuple(line.strip() for line in ids if line.strip())
        if len(ids) != len(probes):
            raise UserError(f"ids={own['ids']} has {len(ids)} lines for {len(probes)} probes")
        return ids
    if probes.ids is None:
        raise UserError(f"{own['probes']} does not say who the probes are: add an array `ids`, or give ids=FILE")
    return probes.ids


def _measure(
    probes: "Features",
    ids: tuple[str, ...],
    distractors: "Features",
    sizes: tuple[int, ...],
    seed: int | None,
    ranks: tuple[int, ...],
    far: tuple[float, ...],
    own: dict[str, str],
) -> "list[Identification]":
    import torch
    from tqdm import tqdm

    from lsoftmax import metrics
    from lsoftmax.errors import UserError

    count = len(distractors)
    if sizes and max(sizes) > count:
        raise UserError(f"sizes={own['sizes']}: there are only {count:,} distractors in {own['distractors']}")
    stops = sizes or (count,)
    # Order matters to nested sets alone; a shuffled memory map is read all over the place.
    rows = None
    if seed is not None and min(stops) < count:
        rows = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).numpy()
    with tqdm(total=max(stops), unit="distractor", disable=not sys.stderr.isatty()) as bar:
        try:
            found = metrics.identify(
                torch.tensor(probes.values),
                ids,
                _Shuffled(distractors, rows),
                sizes=stops,
                ranks=ranks,
                far=far,
                between=lambda done: bar.update(done - bar.n),
            )
        except ValueError as error:
            raise UserError(f"{own['probes']} among {own['distractors']}: {error}") from error
    return list(found.values())


class _Shuffled:
    """Rows of the features in another order, copied block by block."""

    def __init__(self, features: "Features", rows: "np.ndarray | None") -> None:
        self._values, self._rows = features.values, rows
        self.shape = features.values.shape

    def __getitem__(self, where: slice) -> object:
        return self._values[where if self._rows is None else self._rows[where]]


def _report(found: "list[Identification]") -> str:
    lines = [f"{found[0].trials:,} trials; a tie counts against the mate"]
    for result in found:
        rates = [f"rank-{k} {100 * rate:.3f} %" for k, rate in result.rank.items()]
        for limit, (tar, realised) in result.tar_at_far.items():
            note = "" if realised else " (none accepted: too few distractors)"
            rates.append(f"TAR {100 * tar:.3f} % at FAR {limit:g}{note}")
        ties = f", {result.ties:,} trials tied" if result.ties else ""
        lines.append(f"{result.distractors:>9,} distractors: {', '.join(rates)}{ties}")
    return "\n".join(lines)


def _write(folder: Path, found: "list[Identification]", own: dict[str, str]) -> None:
    from lsoftmax.engine.files import cannot_write, write_json
    from scripts._face_curves import draw_cmc

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    sets = [
        {
            "distractors": result.distractors,
            "rank": {str(k): rate for k, rate in result.rank.items()},
            "tar_at_far": [
                {"far": far, "tar": rate.tar, "realised_far": rate.realised_far}
                for far, rate in result.tar_at_far.items()
            ],
            "ties": result.ties,
        }
        for result in found
    ]
    options = {key: value for key, value in own.items() if key != "out"}
    write_json(folder / "identification.json", {"options": options, "trials": found[0].trials, "sets": sets})
    draw_cmc(folder, found, f"{found[0].trials:,} trials")
    print(f"written to {folder}: identification.json, cmc.png, cmc.svg")


if __name__ == "__main__":
    sys.exit(_cli.main(identify, __doc__))
