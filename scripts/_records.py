"""The records of finished runs: outputs/results/runs/*.json (committed), those of a profile apart."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.errors import cannot_read
from configs.settings import ROOT, identity_of

Record = dict[str, Any]
UNLEARNED = (  # lsoftmax.engine.collapse
    "A run is collapsed if it predicts one class, or some class never (of sets with 20 test images a class), "
    "or if its train error is above half of chance's."
)
COLLAPSED = f"{UNLEARNED[:-1]} or above 1.5 times softmax's plus 15 points."
SAME_RUN = ("config_sha256", "dataset_sha256", "test_error")  # in both: two files tell of one run
NUMBER, OR_NONE = (int, float), (int, float, type(None))
FIELDS: dict[str, tuple[type, ...]] = {  # what every table reads of a record
    **dict.fromkeys(("dataset", "model", "loss", "schedule", "versions"), (dict,)),
    **dict.fromkeys(("status", "config_sha256", "dataset_sha256", "device", "precision"), (str,)),
    **dict.fromkeys(("test_error", "train_error", "val_error"), OR_NONE),
    **dict.fromkeys(("seed", "num_classes", "test_images", "threads"), (int,)),
    **{"seconds": NUMBER, "curve": (list,), "wrong": (list, type(None)), "predicted_classes": (int, type(None))},
}
STUDIES = "stability"  # the profile under whose name the studies' results lie


def results_folder(profile: str) -> Path:
    """Where tables, figures and the report of this profile lie: a check of the pipeline is not among the results."""
    places = {"full": "results", "tiny": "small_check"}
    return ROOT / "outputs" / places.get(profile, f"results/{profile}")


def sources(profile: str) -> tuple[str, ...]:
    """The profiles whose records count: a study's run may be one of the tables'."""
    return ("full", "small", STUDIES) if profile == STUDIES else (profile,)


def folder(profile: str) -> Path:
    return results_folder(profile) / "runs"


def read_records(*profiles: str) -> dict[str, Record]:
    """By the hash of what was asked, which makes a run what it is. UserError for a file that is no record.

    Of two records of one run in a profile, whose names differ since what is asked was once hashed otherwise, the newer.
    """
    from lsoftmax.engine.folder import identity_sha256

    found: dict[str, Record] = {}
    for profile in profiles:
        here: dict[str, Record] = {}
        for path in sorted(folder(profile).glob("*.json")):
            record = _checked(path, _read(path))
            if unseen(record).exists() and is_of(measured := _read(unseen(record)), record):
                record["unseen"] = measured
            try:
                key = identity_sha256(identity_of(record))
            except KeyError as error:  # of a loss that is not known here, say
                raise _no_record(path, f"{error} is not known") from None
            if key not in here or here[key]["config_sha256"] != key:
                here[key] = record
        found |= here
    return found


def _checked(path: Path, record: Record) -> Record:
    for key, kinds in FIELDS.items():
        if not isinstance(record.get(key, ...), kinds):
            raise _no_record(path, f"{key} is {repr(record[key])[:40] if key in record else 'missing'}")
    if not isinstance(record["dataset"].get("name"), str) or not isinstance(record["loss"].get("name"), str):
        raise _no_record(path, "its data set or loss has no name")
    measured = ("test_error", "train_error", "predicted_classes") if record["status"] == "finished" else ()
    for key in measured:
        if record[key] is None:
            raise _no_record(path, f"finished, and {key} is None")
    return record


def _no_record(path: Path, reason: object) -> Exception:
    from lsoftmax.errors import UserError

    return UserError(f"{path}: not a run's record ({reason}); restore it or delete it")


def is_of(found: dict[str, Any], record: Record) -> bool:
    """Of this run, and not of another one of the same configuration, on other hardware say."""
    return all(found.get(key) == record[key] for key in SAME_RUN)


def _read(path: Path) -> Record:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise cannot_read(path, error) from error
    except (ValueError, TypeError) as error:  # a merge left its marks in it, say
        raise _no_record(path, error) from None


def keep(record: Record, profile: str) -> Path:
    """Write the record where the tables look for it."""
    from lsoftmax.files import make_folder, write_json

    path = folder(profile) / f"{stem(record)}.json"
    make_folder(path.parent)
    write_json(path, record)
    return path


def unseen(record: Record) -> Path:
    """What scripts/unseen.py has measured of this run."""
    return results_folder(STUDIES) / "unseen" / f"{stem(record)}.json"


def stem(record: Record) -> str:
    """The name of the record's files, which says what it is and is its own."""
    loss = record["loss"]
    margin = f"_m{loss['m']}" if "m" in loss else ""
    return f"{record['dataset']['name']}_{loss['name']}{margin}_seed{record['seed']}_{record['config_sha256'][:10]}"


def verdict(record: Record, softmax: Sequence[Record] = ()) -> str:
    """finished, diverged or collapsed: `has_collapsed`, or train error above 1.5 times softmax's plus 15 points.

    At plus 5, runs would count that test better than softmax: a margin costs train error. Diverged is also who went on
    with a floor under lambda (trainer.on_divergence): that is another schedule by then.

    Args:
        softmax: the runs of the same setting without a margin.
    """
    from lsoftmax.engine.collapse import has_collapsed

    if record["status"] != "finished" or record.get("divergences"):
        return "diverged"
    errors = [run["train_error"] for run in softmax if run["status"] == "finished"]
    unlearned = errors and record["train_error"] > 1.5 * statistics.mean(errors) + 15
    return "collapsed" if unlearned or has_collapsed(record) else "finished"
