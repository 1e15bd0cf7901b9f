"""The records of finished runs: outputs/results/runs/*.json (committed), those of a profile apart."""

import json
from pathlib import Path
from typing import Any

from configs.settings import ROOT

Record = dict[str, Any]
STUDIES = "stability"  # the profile under whose name the studies' results lie


def results_folder(profile: str) -> Path:
    """Where tables, figures and the report of this profile lie: a check of the pipeline is not among the results."""
    places = {"full": "results", "tiny": "small_check"}
    return ROOT / "outputs" / places.get(profile, f"results/{profile}")


def sources(profile: str) -> tuple[str, ...]:
    """The profiles whose records count: a study's run may be one of the small tables'."""
    return ("small", STUDIES) if profile == STUDIES else (profile,)


def folder(profile: str) -> Path:
    return results_folder(profile) / "runs"


def read_records(*profiles: str) -> dict[str, Record]:
    """By config_sha256: what was asked makes a run what it is."""
    found = {}
    for profile in profiles:
        for path in sorted(folder(profile).glob("*.json")):
            record = json.loads(path.read_text())
            found[record["config_sha256"]] = record
    return found


def keep(record: Record, profile: str) -> Path:
    """Write the record where the tables look for it."""
    from lsoftmax.engine.files import write_json

    path = folder(profile) / f"{stem(record)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)
    return path


def stem(record: Record) -> str:
    """The name of the record's files, which says what it is and is its own."""
    loss = record["loss"]
    margin = f"_m{loss['m']}" if "m" in loss else ""
    return f"{record['dataset']['name']}_{loss['name']}{margin}_seed{record['seed']}_{record['config_sha256'][:10]}"


def verdict(record: Record) -> str:
    """finished, diverged or collapsed: predicts one class, or train error above half of chance's."""
    if record["status"] != "finished":
        return str(record["status"])
    chance = 100 * (1 - 1 / record["num_classes"])
    collapsed = record["predicted_classes"] == 1 or record["train_error"] > chance / 2
    return "collapsed" if collapsed else "finished"
