"""Benchmarks, never timed tests: `make bench`, or python -m scripts.bench [item=head,memory] [seconds=10] [threads=1].

item=     which of ITEMS; all by default
seconds=  how long each row is measured
threads=  torch's; 1 by default

One table an item on the terminal, and outputs/results/bench/ITEM.json (ITEM_2_threads_gpu.json) with the machine, the
versions and the date.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from configs.errors import ConfigError
from configs.settings import ROOT
from scripts import _cli, _values

Row = dict[str, Any]


def items() -> dict[str, Callable[[float], Iterator[Row]]]:
    """By name; torch is imported here, after the options were checked."""
    from scripts.bench import breakdown, curves, faces_out, floors, head, runs, step, watch

    return {
        "head": head.time_of_head,
        "memory": head.memory_of_head,
        "blocks": head.many_classes,
        "head_in_step": step.head_in_step,
        "data_path": step.data_path,
        "breakdown": breakdown.breakdown,
        "trainer_settings": runs.trainer_settings,
        "floors": floors.floors,
        "end_to_end": runs.end_to_end,
        "watch": watch.watch,
        "evaluation": step.evaluation,
        "start_up": step.start_up,
        "loss_curves": curves.loss_curves,
        "final_error": curves.final_error,
        "verification": faces_out.verification,
        "identification": faces_out.identification,
    }


OWN = ["item", "seconds", "threads"]
ON_CPU = ("verification", "identification")  # beside a GPU too


def bench(arguments: list[str]) -> None:
    """See above."""
    own, rest = _cli.split_options(arguments, OWN)
    _cli.refuse(rest, OWN)
    seconds, threads = _positive(own, "seconds", 10), _values.whole(own, "threads", 1)

    import torch

    from lsoftmax.engine.device import set_determinism
    from lsoftmax.errors import UserError
    from lsoftmax.files import make_folder, write_json
    from scripts.bench.measure import origin

    known = items()
    names = own["item"].split(",") if "item" in own else list(known)
    for name in names:
        if name not in known:
            raise ConfigError(f"item={name}: there is no such benchmark; choose from {', '.join(known)}")
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # torch's profiler tells stderr of its every start and end
    torch.set_num_threads(threads)
    folder = ROOT / "outputs" / "results" / "bench"
    make_folder(folder)
    missing = []
    for name in names:
        set_determinism(False)  # whatever the item before has set
        about = origin(f"python -m scripts.bench item={name} threads={threads} seconds={seconds:g}")
        if name in ON_CPU:
            about["gpu"] = None
        rows: list[Row] = []
        print(f"\n{name}: {(known[name].__doc__ or '').strip()}")
        try:
            for row in known[name](seconds):
                if not rows or list(row) != list(rows[-1]):
                    print(_line(row, row))
                rows.append(row)
                print(_line(row, row.values()), flush=True)
        except (ConfigError, UserError) as error:  # no data for it, no compiler: the others can do without
            print(f"  not measured: {error}", flush=True)
            missing.append(name)
            continue
        file = name + (f"_{threads}_threads" if threads > 1 else "") + ("_gpu" if about["gpu"] else "")
        write_json(folder / f"{file}.json", {**about, "rows": rows})
    if missing:
        raise ConfigError(f"not measured: {', '.join(missing)}")


def _line(row: Row, cells: Iterable[object]) -> str:
    """Cells below their keys; the first column has room for a name."""
    widths = [max(len(key), 8 if number else 24) for number, key in enumerate(row)]
    return "  " + "  ".join(str(cell).ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _positive(own: dict[str, str], key: str, default: float) -> float:
    try:
        value = float(own.get(key, default))
    except ValueError:
        value = -1
    if not 0 < value < 1e6:
        raise ConfigError(f"{key} must be a number > 0, got {own[key]!r}")
    return value


if __name__ == "__main__":
    sys.exit(_cli.main(bench, __doc__))
