"""Packing faces beside decoding them: the share of the pure decode rate of the same cores that prepare_faces keeps.

    python -m scripts.bench.faces_in source=outputs/data/lfw/images [landmarks=FILE] [workers=2] [rounds=3]

Pure decoding reads each file and has Pillow make RGB pixels of it, in as many processes, and does nothing else. The two
take turns, so that other load falls on both, and the best round of each counts. Rates are images a second of the clock,
and, which other load disturbs less, images a second of processor time. Without landmarks= the images are aligned ones.
"""

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from scripts import _cli, _execution, _values

OWN = ["source", "landmarks", "workers", "rounds"]


def faces_in(arguments: list[str]) -> None:
    """See above."""
    own, rest = _cli.split_options(arguments, OWN)
    _cli.refuse(rest, OWN)
    if "source" not in own:
        raise ConfigError("say source=")
    if not Path(own["source"]).is_dir():
        raise ConfigError(f"source={own['source']} must be a folder of identity folders")
    workers, rounds = _values.whole(own, "workers", _execution.cores()), _values.whole(own, "rounds", 3)

    import data.faces.pack  # noqa: F401  (before the clock starts)
    from data.faces.sources import open_source

    source = open_source(own["source"], landmarks=own.get("landmarks"))
    paths = [str(Path(own["source"]) / name) for name in source.names]

    def decode() -> None:
        with multiprocessing.get_context("fork").Pool(workers) as pool:
            pool.map(_decode, [paths[k : k + 256] for k in range(0, len(paths), 256)], chunksize=1)
            pool.close()
            pool.join()

    measured = [(_rates(decode, len(paths)), _rates(lambda: _pack(source, workers), len(paths))) for _ in range(rounds)]
    print(f"{len(paths):,} images, {workers} processes, {os.cpu_count()} cores")
    for unit, k in (("second", 0), ("processor second", 1)):
        pure, packed = max(pair[0][k] for pair in measured), max(pair[1][k] for pair in measured)
        print(f"images a {unit}: decode {pure:,.0f}, pack {packed:,.0f}: {packed / pure:.2f}")


def _pack(source: Any, workers: int) -> None:
    from data.faces.crop import Crop
    from data.faces.pack import Packing
    from data.faces.selection import select

    with tempfile.TemporaryDirectory() as folder:
        crop = Crop(align="none" if source.landmarks is None else "umeyama")
        Packing(source, select(source, exclude="none"), Path(folder) / "pack", crop, options={}).run(workers)


def _rates(work: Callable[[], None], images: int) -> tuple[float, float]:
    """Images a second of the clock, and of the processors."""
    before, start = os.times(), time.perf_counter()
    work()
    after, seconds = os.times(), time.perf_counter() - start
    return images / seconds, images / (sum(after[:4]) - sum(before[:4]))


def _decode(paths: list[str]) -> None:
    import io

    import numpy as np
    from PIL import Image

    for path in paths:
        with open(path, "rb") as file:
            np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))


if __name__ == "__main__":
    sys.exit(_cli.main(faces_in, __doc__))
