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
noise=       text files with the paths of features that are wrong, one a line, of probes or distractors, several with
             commas, InsightFace's two as they are: results are given with and without them
out=         a folder for identification.json, cmc.png and cmc.svg
alg=         with out=, also the devkit's cmc_PROBES_DISTRACTORS_ALG_SIZE_SET.json, under this name of the algorithm;
             SET is the seed
"""

import _root  # noqa: F401

# isort: split

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import ConfigError
from scripts import _cli, _values

if TYPE_CHECKING:
    import numpy as np

    from data.faces.features import Features
    from lsoftmax.metrics import Identification

OPTIONS = ["probes", "distractors", "probe_list", "distractor_list", "suffix", "ids"]
OPTIONS += ["sizes", "seed", "ranks", "far", "noise", "out", "alg"]
REFINED_WIDTH = 513  # InsightFace pushes bad distractors away by one number more


def identify(arguments: list[str]) -> None:
    """See above."""
    own, rest = _cli.split_options(arguments, OPTIONS)
    _cli.refuse(rest, OPTIONS)
    for key in ("probes", "distractors"):
        if key not in own:
            raise ConfigError(f"give probes=FILE and distractors=FILE: {key}= is missing")
    ranks = _values.wholes(own, "ranks", (1, 10), least=1)
    far = _values.rates(own, "far", (1e-6,))
    sizes = _values.wholes(own, "sizes", (), least=1)
    seed = None if own.get("seed") == "none" else _values.whole(own, "seed", 0, least=0)

    if "alg" in own and ("out" not in own or not re.fullmatch(r"[\w.-]+", own["alg"])):
        raise ConfigError(f"alg={own['alg']}: a name of letters, digits, - and . for files in out=FOLDER")

    if own.get("out") == "":
        raise ConfigError("out= names no folder")
    probes = _features(own, "probes", "probe_list")
    ids = _ids(own, probes)
    distractors = _features(own, "distractors", "distractor_list")
    if probes.values.shape[1] == REFINED_WIDTH:
        print("note: 513 numbers, as InsightFace's refined features have them: not to be compared with raw ones")
    sets = _nested(own, len(distractors), sizes, seed)
    found = _measure(probes, ids, distractors, sets, ranks, far, own)
    print(_report(found))
    refined = None
    if "noise" in own:
        probes, ids, clean = _without_noise(own, probes, ids, distractors)
        refined = _measure(probes, ids, distractors, sets.only(clean), ranks, far, own)
        print(f"without noise:\n{_report(refined)}")
    if "out" in own:
        _write(Path(own["out"]).expanduser(), found, refined, own)


class _Sets:
    """Nested distractor sets: the first so many, `stops` ascending, of the rows `order`; of all as they lie if None."""

    def __init__(self, order: "np.ndarray | None", stops: tuple[int, ...]) -> None:
        self.order, self.stops = order, stops

    def only(self, clean: "np.ndarray") -> "_Sets":
        """The same sets without the rows for which `clean` (N,) is false."""
        import numpy as np

        order = np.arange(len(clean)) if self.order is None else self.order
        left = clean[order].cumsum()
        for stop in self.stops:
            if left[stop - 1] == 0:
                print(f"note: all of the first {stop:,} distractors are noise; there is no set of that size without it")
        return _Sets(order[clean[order]], tuple(int(left[stop - 1]) for stop in self.stops))


def _nested(own: dict[str, str], count: int, sizes: tuple[int, ...], seed: int | None) -> _Sets:
    import torch

    from lsoftmax.errors import UserError

    if sizes and max(sizes) > count:
        raise UserError(f"sizes={own['sizes']}: there are only {count:,} distractors in {own['distractors']}")
    stops = tuple(sorted(set(sizes))) or (count,)
    # Order matters to nested sets alone; a shuffled memory map is read all over the place.
    if seed is None or stops[0] == count:
        return _Sets(None, stops)
    return _Sets(torch.randperm(count, generator=torch.Generator().manual_seed(seed)).numpy(), stops)


def _without_noise(
    own: dict[str, str], probes: "Features", ids: tuple[str, ...], distractors: "Features"
) -> "tuple[Features, tuple[str, ...], np.ndarray]":
    """The probes that the lists do not name, and for each distractor whether they do not."""
    import numpy as np

    from data.faces.features import is_noise, read_noise
    from lsoftmax.errors import UserError

    if probes.names is None and distractors.names is None:
        raise UserError("noise= needs features with names: an .npz with `names`, a folder, or a list")
    suffix, count = own.get("suffix", ".bin"), 0
    of_probes, of_distractors = np.ones(len(probes), dtype=bool), np.ones(len(distractors), dtype=bool)
    for path in own["noise"].split(","):
        names = read_noise(path)
        wrong = [is_noise(part, names, suffix) for part in (probes, distractors)]
        if not any(part.any() for part in wrong):
            example = next((part.names[0] for part in (probes, distractors) if part.names), "")
            raise UserError(
                f"noise={path}: none of its {len(names):,} names is that of a feature ({example!r}, ... with suffix="
                f"{suffix}); suffix= is what follows a name of the list"
            )
        of_probes &= ~wrong[0]
        of_distractors &= ~wrong[1]
        count += len(names)
    left_out = [int((~part).sum()) for part in (of_probes, of_distractors)]
    print(f"noise: {left_out[0]:,} probes and {left_out[1]:,} distractors left out, of {count:,} names")
    if of_distractors.sum() == 0:
        raise UserError(f"noise={own['noise']}: no distractor is left")
    rows = of_probes.nonzero()[0]
    return probes.take(rows), tuple(ids[row] for row in rows), of_distractors


def _features(own: dict[str, str], key: str, listing: str) -> "Features":
    from data.faces.features import read_features, read_listed

    if listing in own:
        return read_listed(own[key], own[listing], own.get("suffix", ".bin"))
    return read_features(own[key])


def _ids(own: dict[str, str], probes: "Features") -> tuple[str, ...]:
    from data.faces.features import read_names
    from lsoftmax.errors import UserError

    if "ids" in own:
        ids = tuple(read_names(own["ids"]))
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
    sets: _Sets,
    ranks: tuple[int, ...],
    far: tuple[float, ...],
    own: dict[str, str],
) -> "list[Identification]":
    import torch
    from tqdm import tqdm

    from lsoftmax import metrics
    from lsoftmax.errors import UserError

    stops = [stop for stop in sets.stops if stop]
    if not stops:
        raise UserError(f"sizes={own['sizes']}: no distractor is left in any of them without noise={own['noise']}")
    with tqdm(total=max(stops), unit="distractor", disable=not sys.stderr.isatty()) as bar:
        try:
            found = metrics.identify(
                torch.tensor(probes.values),
                ids,
                _Shuffled(distractors, sets.order),
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
        self.shape = (len(features) if rows is None else len(rows), features.values.shape[1])

    def __getitem__(self, where: slice) -> object:
        from data.faces.features import without_direction

        if self._rows is None:
            return self._values[where]
        rows = self._rows[where]
        block = self._values[rows]
        if bad := without_direction(block):  # here, where the row is known: identify counts in the shuffled order
            raise ValueError(f"row {rows[bad[0]]} of distractors is {bad[1]}: it has no direction to compare")
        return block


def _report(found: "list[Identification]") -> str:
    lines = [f"{found[0].trials:,} trials; a tie counts against the mate"]
    for result in found:
        rates = [f"rank-{k} {100 * rate:.3f} %" for k, rate in result.rank.items()]
        for limit, (tar, realised) in result.tar_at_far.items():
            note = "" if realised else " (no impostor accepted: too few distractors, or they tie)"
            rates.append(f"TAR {100 * tar:.3f} % at FAR {limit:g}{note}")
        ties = f", {result.ties:,} trials tied" if result.ties else ""
        lines.append(f"{result.distractors:>9,} distractors: {', '.join(rates)}{ties}")
    return "\n".join(lines)


def _write(
    folder: Path, found: "list[Identification]", refined: "list[Identification] | None", own: dict[str, str]
) -> None:
    from lsoftmax.files import make_folder, write_json
    from scripts._face_curves import draw_cmc

    make_folder(folder)
    options = {key: value for key, value in own.items() if key != "out"}
    numbers = {"options": options, "trials": found[0].trials, "sets": _as_rows(found)}
    if refined is not None:
        numbers["without_noise"] = {"trials": refined[0].trials, "sets": _as_rows(refined)}
    write_json(folder / "identification.json", numbers)
    draw_cmc(folder, found, f"{found[0].trials:,} trials")
    written = "identification.json, cmc.png, cmc.svg"
    if "alg" in own:
        from scripts import _devkit

        probes, distractors = (Path(own[key]).expanduser().stem for key in ("probes", "distractors"))
        _devkit.write(folder, found, probes, distractors, own["alg"], own.get("seed", "0"))
        written += f", {len(found)} of the devkit's"
    print(f"written to {folder}: {written}")


def _as_rows(found: "list[Identification]") -> list[dict[str, Any]]:
    return [
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


if __name__ == "__main__":
    sys.exit(_cli.main(identify, __doc__))
