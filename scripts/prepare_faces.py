"""Any copy of CASIA-WebFace, or of another set of faces, -> one packed set that trains and tests fast.

    python scripts/prepare_faces.py source=faces_webface_112x112 out=outputs/data/webface
    python scripts/prepare_faces.py source=CASIA-WebFace landmarks=casia_landmark.txt out=outputs/data/webface
    python scripts/prepare_faces.py source=lfw landmarks=lfw_landmark.txt exclude=none out=outputs/data/lfw_packed

dataset.verify=[lfw] (experiment=casia_lfw) looks for that last pack, with LFW's pairs.txt copied into it.

source=           a .rec file or its folder, a folder of identity folders (ID/NNN.jpg), or a zip of one
out=              the pack's folder; killed, the same command goes on (out.part holds what is done)
size=             112x96 (SphereFace's, the default) or 112x112 (ArcFace's)
aligned=          true takes aligned images as they are (the default for .rec files); 112x112 is cut to 112x96
landmarks=        a list of five landmarks (text, or .npz with names and landmarks)
detector=         module:function that finds them: image (H, W, 3) -> (faces, 5, 2)
align=            umeyama (default), cp2tform (SphereFace's MATLAB), or fixed (one cut of 250 x 250, no landmarks)
list=             which images, and who is on them: path and label (text, csv, .lst), instead of the folders
exclude=          people in the test sets: union19 (default), sf3, hn16, hn17, facescrub, none, a file; or several
exclude_by_rank=  true presumes that labels without ids follow the sorted ids; look at OUT/presumed afterwards
min_images=       people with fewer images are left out (1)
swap_rb=          true exchanges red and blue
max_corrupt=      the share of images that may be corrupt and are skipped (0.001)
max_missing=      the share of listed images that may be missing (0.01)
repair=           true skips damaged parts of a .rec file
workers=          processes (one for each core)
"""

import _root  # noqa: F401

# isort: split

import sys
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from scripts import _cli, _execution, _values

OWN = [
    *("source", "out", "size", "aligned", "landmarks", "detector", "align", "list", "exclude", "exclude_by_rank"),
    *("min_images", "swap_rb", "max_corrupt", "max_missing", "repair", "workers"),
]


def prepare_faces(arguments: list[str]) -> None:
    """See above."""
    own, rest = _cli.split_options(arguments, OWN)
    _cli.refuse(rest, OWN)
    for key in ("source", "out"):
        if not own.get(key):
            raise ConfigError(f"say {key}=")
    min_images, workers = _values.whole(own, "min_images", 1), _values.whole(own, "workers", _execution.cores())
    max_corrupt, max_missing = _values.share(own, "max_corrupt", 0.001), _values.share(own, "max_missing", 0.01)
    repair, swap_rb = _values.flag(own, "repair", False), _values.flag(own, "swap_rb", False)
    by_rank = _values.flag(own, "exclude_by_rank", False)
    exclude = own.get("exclude", "union19")

    from data.faces.copies import nearest_copy
    from data.faces.crop import Crop
    from data.faces.detector import Detector
    from data.faces.pack import Packing
    from data.faces.selection import select
    from data.faces.sources import open_source, record_path
    from data.faces.templates import parse_size

    is_records = record_path(Path(own["source"]).expanduser()) is not None
    crop = Crop(parse_size(own.get("size", "112x96")), _alignment(own, is_records), swap_rb)
    detector = Detector(own["detector"]) if "detector" in own else None
    if detector is not None:
        detector.check()
    source = open_source(
        own["source"],
        list_path=own.get("list"),
        landmarks=own.get("landmarks"),
        repair=repair,
        max_missing=max_missing,
    )
    near = nearest_copy(len(source), len(source.classes))
    print(f"source   {source.path}: {len(source):,} images of {len(source.classes):,} people{near and ', ' + near}")
    for note in source.notes:
        print(f"note     {note}")
    selection = select(source, exclude=exclude, min_images=min_images, by_rank=by_rank, landmarks=crop.needs_landmarks)
    for note in selection.notes:
        print(f"note     {note}")
    if exclude != "none":
        print(f"exclude  {exclude}: {len(selection.excluded)} of these people are in the source")
    options = {"exclude": exclude, "min_images": min_images, "detector": own.get("detector")}
    packing = Packing(
        source,
        selection,
        Path(own["out"]).expanduser(),
        crop,
        options=options,
        detector=detector,
        min_images=min_images,
        max_corrupt=max_corrupt,
    )
    if packing.place.finished():
        print(f"pack     {packing.place.out} is there already")
        return
    _report(_run(packing, workers), packing.place.out, source.notes + selection.notes)


def _alignment(own: dict[str, str], is_records: bool) -> Any:
    """The method; asks for what it needs."""
    if _values.flag(own, "aligned", is_records and not {"align", "detector"} & own.keys()):
        if {"align", "landmarks", "detector"} & own.keys():
            raise ConfigError("aligned=true takes images as they are: no align=, landmarks= or detector=")
        return "none"
    align = own.get("align", "umeyama")
    if align not in ("umeyama", "cp2tform", "fixed"):
        raise ConfigError(f"align must be one of umeyama, cp2tform, fixed, got {align!r}")
    if align == "fixed" and {"landmarks", "detector"} & own.keys():
        raise ConfigError("align=fixed is one cut for all images: no landmarks= or detector=")
    if align != "fixed" and ("landmarks" in own) == ("detector" in own):
        raise ConfigError(
            "to align faces give landmarks=FILE or detector=module:function; aligned=true takes images that are "
            "aligned already, align=fixed cuts all of 250 x 250 alike (not the paper's procedure)"
        )
    return align


def _run(packing: Any, workers: int) -> dict[str, Any]:
    from tqdm import tqdm

    bar: tqdm[Any] | None = None

    def progress(images: int) -> None:
        nonlocal bar
        if bar is None:  # the first call tells what was done before; that is no part of the rate
            bar = tqdm(total=len(packing.names), initial=images, unit=" images", dynamic_ncols=True, smoothing=0.1)
        else:
            bar.update(images)

    try:
        return dict(packing.run(workers, progress))
    finally:
        if bar is not None:
            bar.close()


def _report(manifest: dict[str, Any], out: Path, said: list[str]) -> None:
    per = manifest["images_per_identity"]
    print(
        f"pack     {out}: {manifest['images']:,} images of {manifest['identities']:,} people "
        f"({per['min']} to {per['max']} each, median {per['median']:g})"
    )
    for reason, count in manifest["left_out"].items():
        print(f"left out {count:,}: {reason}")
    for remark, count in manifest["remarks"].items():
        print(f"warning  {count:,} images: {remark}")
    for note in manifest["notes"]:
        if note not in said:
            print(f"warning  {note}")


if __name__ == "__main__":
    sys.exit(_cli.main(prepare_faces, __doc__))
