"""Results of an identification as the MegaFace devkit writes them, for its plotting scripts and for comparison."""

from collections.abc import Sequence
from pathlib import Path

from lsoftmax.files import write_json
from lsoftmax.metrics import Identification


def write(folder: Path, found: Sequence[Identification], probes: str, distractors: str, alg: str, chosen: str) -> None:
    """folder/cmc_PROBES_DISTRACTORS_ALG_SIZE_SET.json for each size: [[rank from 0], [rate]] and [[FAR], [TAR]].

    chosen: which nested sets, in the place of the devkit's number of a set.
    """
    for result in found:
        ranks, rates = list(range(len(result.cmc))), result.cmc.tolist()
        name = f"cmc_{probes}_{distractors}_{alg}_{result.distractors}_{chosen}.json"
        write_json(folder / name, {"cmc": [ranks, rates], "roc": result.roc.tolist()})
