"""Packing faces beside decoding them: the share of the pure decode rate of the same cores that prepare_faces keeps.

    python scripts/bench/faces_in.py source=outputs/data/lfw [workers=2] [rounds=3]

Pure decoding reads each file and has Pillow make RGB pixels of it, in as many processes, and does nothing else. The two
take turns, so that other load falls on both; the best round of each counts. source= is a folder of aligned images.
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

import multiprocessing  # noqa: E402
import os  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402

from scripts import _cli  # noqa: E402


def faces_in(arguments: list[str]) -> None:
    """See above."""
    own, _ = _cli.split_options(arguments, ["source", "workers", "rounds"])
    workers = int(own.get("workers", len(os.sched_getaffinity(0))))

    from data.faces.crop import Crop
    from data.faces.pack import Packing
    from data.faces.selection import select
    from data.faces.sources import open_source

    source = open_source(own["source"])
    root = source.read.__self__.root  # type: ignore[attr-defined]
    paths = [f"{root}/{name}" for name in source.names]
    best = {"decode": 0.0, "pack": 0.0}
    for _ in range(int(own.get("rounds", 3))):
        start = time.perf_counter()
        with multiprocessing.get_context("fork").Pool(workers) as pool:
            pool.map(_decode, [paths[k : k + 256] for k in range(0, len(paths), 256)], chunksize=1)
        best["decode"] = max(best["decode"], len(paths) / (time.perf_counter() - start))
        with tempfile.TemporaryDirectory(dir=own.get("out")) as folder:
            start = time.perf_counter()
            selection = select(source, exclude="none")
            Packing(source, selection, Path(folder) / "pack", Crop(align="none"), options={}).run(workers)
            best["pack"] = max(best["pack"], len(paths) / (time.perf_counter() - start))
    print(f"{len(paths):,} images, {workers} processes, {os.cpu_count()} cores")
    print(
        f"decode {best['decode']:,.0f} images/s, pack {best['pack']:,.0f} images/s: {best['pack'] / best['decode']:.2f}"
    )


def _decode(paths: list[str]) -> None:
    import io

    import numpy as np
    from PIL import Image

    for path in paths:
        with open(path, "rb") as file:
            np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))


if __name__ == "__main__":
    sys.exit(_cli.main(faces_in, __doc__))
