"""How far features carry to classes that the network has never seen: which of these images are of one kind?

    python scripts/unseen.py run=outputs/runs/cifar10/...
    python scripts/unseen.py study=decay

run=    one finished run
study=  all runs of a study whose weights are still in outputs/runs; each leaves a small file in
        outputs/results/stability/unseen/ (commit it), from which the study's table takes its numbers
Further options are the configuration's: device=, data_root=, dataset.check_integrity=, trainer.eval_batch_size=, ...

The classes are CIFAR100's 100 for a network of CIFAR10, which has none of them, the others for one of some of
CIFAR100's classes (dataset.classes), and for one of LFW's (lfw_dev) the 1,711 people of View 1's test. Recall at 1 is
the share of images whose nearest other image, by the cosine of the features, is of their class; MAP@R the mean average
precision among as many as there are of their class. Of all pairs of these images: the equal error rate of a threshold
on the cosine, and TAR at FAR 0.001, the share of pairs of one class above a threshold that one of 1,000 others passes.
"""

import _root  # noqa: F401

# isort: split

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import ConfigError
from configs.schema import Settings
from configs.settings import ROOT, compose
from scripts import _cli, _features, _plan, _records

if TYPE_CHECKING:
    from torch import Tensor

    from data import ImageSet

FAR = 1e-3


def unseen(arguments: list[str]) -> None:
    """See above."""
    own, extra = _cli.split_options(arguments, ["run", "study"])
    if len(own) != 1:
        raise ConfigError("give either run=FOLDER or study=NAME")
    if "run" in own:
        found = measure(Path(own["run"]).expanduser(), extra)
        print(
            f"{found['images']:,} images of {found['classes']} classes that the network has never seen: "
            f"recall at 1 {found['recall_at_1']:.2f} %, MAP@R {found['map_at_r']:.2f} %; "
            f"of all pairs EER {found['eer']:.2f} %, TAR at FAR {FAR:g} {found['tar']:.2f} %"
        )
    else:
        measured = _study(own["study"], extra)
        print(f"{measured} runs; python scripts/reproduce.py study={own['study']} train=false writes the table")


def measure(run: Path, extra: Sequence[str] = ()) -> dict[str, Any]:
    """What is kept of a run, from the weights in its folder; percent."""
    import torch

    from lsoftmax.metrics import all_pairs_roc, retrieve
    from lsoftmax.metrics.roc import tar_at_far
    from scripts._network import open_network

    network = open_network(run, extra)
    images = images_for(network.settings)
    with torch.no_grad():
        parts = images.chunks(network.settings.trainer.eval_batch_size)
        features = torch.cat([network.backbone(network.prepare(part)) for part in parts])
    labels = images.labels.to(features.device)
    found, curve = retrieve(features, labels), all_pairs_roc(features, labels)
    sizes, hits = images.labels.bincount(), images.labels[found.hits].bincount(minlength=int(images.labels.max()) + 1)
    return {
        "recall_at_1": 100 * found.recall_at_1,
        "map_at_r": 100 * found.map_at_r,
        "eer": 100 * curve.eer,
        "tar": 100 * tar_at_far(curve, _pairs_of_strangers(labels), [FAR])[FAR].tar,
        "images": len(images),
        "classes": len(set(images.labels.tolist())),
        # Class by class, of those that have two images: with how many of them the nearest is of another class.
        "queries": sizes[sizes > 1].tolist(),
        "misses": (sizes - hits)[sizes > 1].tolist(),
    }


def _pairs_of_strangers(labels: "Tensor") -> int:
    sizes = labels.bincount()
    return (len(labels) ** 2 - int(sizes.square().sum())) // 2


def images_for(settings: Settings) -> "ImageSet":
    """Images of classes that a network of these settings has not been trained on."""
    name, seen = settings.dataset.name, getattr(settings.dataset, "classes", None) or 0
    if not _has_others(name, seen):
        raise ConfigError(f"dataset={name}: a network of all its classes, and no others are at hand")
    if name == "lfw_dev":
        from data.faces import lfw_dev

        images, notes = lfw_dev.read_others(Path(settings.data_root).expanduser())
        for note in notes:
            print(f"warning: {note}", file=sys.stderr)
        return images
    from assemble import load_data

    others = compose(["dataset=cifar100"])
    others.dataset.check_integrity = settings.dataset.check_integrity
    images = load_data(replace(others, data_root=settings.data_root, data_download=settings.data_download)).test
    if name == "cifar100":
        first = settings.dataset.first_class
        images = images.subset(((images.labels < first) | (images.labels >= first + seen)).nonzero().flatten())
    return images


def _has_others(name: str, seen: int) -> bool:
    """Whether there are images of classes that a network of so many of the data set has not been trained on."""
    return name in ("lfw_dev", "cifar10", "cifar10+") or (name == "cifar100" and 0 < seen < 100)


def _study(name: str, extra: Sequence[str]) -> int:
    """Measure what can be and is not yet; the number of runs that have been measured, now or before."""
    from lsoftmax.files import make_folder, write_json
    from scripts import _tables

    study = _plan.read_study(name)
    wanted = _plan.figure_cells(study, _plan.read_profile(study["profile"]), study["seeds"])
    results = _tables.collect(wanted, _records.read_records(*_records.sources(_records.STUDIES)))
    folders, measured = _folders(), 0
    for record in (record for runs in results.values() for record in runs):
        run, known = folders.get(record["config_sha256"]), "unseen" in record
        whole = "misses" in record.get("unseen", {})  # older ones are without
        has_others = _has_others(record["dataset"]["name"], record["dataset"].get("classes") or 0)
        if not whole and has_others and run is not None and _features.is_run_of(run, record):
            kept, known = _records.unseen(record), True
            make_folder(kept.parent)
            write_json(kept, {**{key: record[key] for key in _records.SAME_RUN}, **measure(run, extra)})
            print(f"measured {kept.relative_to(ROOT)}")
        measured += known
    return measured


def _folders() -> dict[str, Path]:
    """Finished runs by what was asked of them."""
    found = {}
    for path in (ROOT / "outputs" / "runs").glob("*/*/seed=*/result.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):  # a damaged one is nobody's run
            found[json.loads(path.read_text())["config_sha256"]] = path.parent
    return found


if __name__ == "__main__":
    sys.exit(_cli.main(unseen, __doc__))
