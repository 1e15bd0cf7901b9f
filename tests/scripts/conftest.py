"""A run of a few steps, the scripts called as from the command line, made-up runs and their records."""

import functools
import importlib
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import models
import train
from configs.schema import Settings
from configs.settings import compose, identity, to_yaml
from lsoftmax import losses
from lsoftmax.engine.folder import identity_sha256
from lsoftmax.engine.weights import save_weights
from scripts import _plan, _runs
from scripts._known_data import expected_sha256
from scripts._plan import cells


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished smoke run on the embedded digits, with a validation split."""
    folder = tmp_path_factory.mktemp("run")
    settings = compose(["debug=smoke", "dataset.validation=100", "device=cpu", f"run_dir={folder}"])
    assert train.run(settings, folder).code == 0
    return folder


@pytest.fixture(scope="session")
def result(finished: Path) -> dict:
    return json.loads((finished / "result.json").read_text())


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[..., Path]:
    """run_of(image_shape, mean, "loss=hinge", ...) -> the folder of a run whose network has seen nothing."""

    def make(
        image_shape: tuple[int, int, int],
        mean: torch.Tensor,
        *options: str,
        num_classes: int = 4,
        metadata: dict[str, Any] | None = None,
    ) -> Path:
        run = tmp_path / "run"
        run.mkdir()
        settings = compose(["dataset=synthetic", "device=cpu", "trainer.eval_batch_size=3", *options])
        torch.manual_seed(0)
        backbone = models.build(image_shape=image_shape, **asdict(settings.model))
        chosen = asdict(settings.loss)
        criterion = losses.create(chosen.pop("name"), backbone.feature_size, num_classes, **chosen)
        if criterion.bias is not None:
            torch.nn.init.normal_(criterion.bias)
        save_weights(run / "model.safetensors", backbone, criterion, mean, metadata or {})
        (run / "config.yaml").write_text(to_yaml(settings))
        return run

    return make


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """script("evaluate", "run=...") -> what it said."""
    from scripts import _cli

    def call(name: str, *options: str) -> Said:
        module = importlib.import_module(name)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *options])
        code = _cli.main(getattr(module, name), module.__doc__)
        return Said(code, *capsys.readouterr())

    return call


def composed(overrides: Sequence[str]) -> Settings:
    """Settings; the same options are composed once for all tests, at a tenth of a second each."""
    return _composed(tuple(overrides), os.environ.get("LSOFTMAX_DATA"))


_composed = functools.cache(lambda overrides, _: compose(overrides))


@pytest.fixture(scope="session", autouse=True)
def composed_once() -> Iterator[None]:
    """Tables, figures and studies ask for the same runs again and again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_plan, "compose", composed)
        yield


@pytest.fixture
def made_up() -> Callable[..., dict]:
    """made_up(settings, wrong=[3, 7], ...) -> the record of a run that got these of its 100 test images wrong."""

    def make(settings: Any, wrong: Sequence[int] | None = (), **other: Any) -> dict:
        what = identity(settings)
        run = {
            "status": "finished",
            "steps": 9,
            "test_error": float(len(wrong or ())),
            "train_error": 0.0,
            "val_error": None,
        }
        data: dict[str, Any] = {
            "curve": [],
            "wrong": None if wrong is None else list(wrong),
            "predicted_classes": 10,
            "num_classes": 10,
            "test_images": 100,
        }
        pixels = expected_sha256(what["dataset"]) or "d" * 64
        how = {"seconds": 360.0, "precision": "fp32", "threads": 2, "device": "Abacus", "dataset_sha256": pixels}
        versions = {"python": "3.11.7", "torch": "2.99", "lsoftmax": "0.1.0", "git": "abc123"}
        key = identity_sha256(what)
        return {**what, **run, **data, **how, "versions": versions, "config_sha256": key, **other}

    return make


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """outputs/ of the table runner, in a folder of its own."""
    for module in ("reproduce", "report", "unseen", "scripts._records", "scripts._hparams", "configs.run_directory"):
        monkeypatch.setattr(importlib.import_module(module), "ROOT", tmp_path)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # no test here cuts the power
    return tmp_path / "outputs"


@pytest.fixture
def count(elsewhere: Path) -> int:
    """How many runs fill table 2 with one seed: in some rows `best` is `paper`."""
    return len({identity_sha256(cell.identity) for cell in cells(_plan.read_table("2"), {}, 1)})


class Ended:
    """A process that has ended."""

    returncode = 0

    def poll(self) -> int:
        return 0


class Trained(list):
    """The options of all runs that were started."""

    leaves = staticmethod(lambda record: record)  # record -> what its run leaves, None for nothing


@pytest.fixture
def trained(monkeypatch, elsewhere, made_up) -> Trained:
    """Every run ends at once, with the record that its options make."""
    started = Trained()

    def start(options: list[str]) -> Ended:
        started.append(options)
        [folder] = [Path(option.partition("=")[2]) for option in options if option.startswith("run_dir=")]
        settings = _plan.compose([option for option in options if not option.startswith("run_dir=")])
        record = started.leaves(made_up(settings, wrong=[1, 2]))
        if record is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "result.json").write_text(json.dumps(record))
        return Ended()

    monkeypatch.setattr(_runs, "_start", start)
    monkeypatch.setattr(_runs.time, "sleep", lambda seconds: None)
    return started


@pytest.fixture(autouse=True)
def no_open_figures() -> Iterator[None]:
    """matplotlib warns of figures that stay open, in whichever test opens the twenty-first."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def table() -> dict:
    """A table of the same form with two short columns."""
    columns = [
        {"label": "Ones", "overrides": ["dataset=mnist5k"], "paper": ["schedule.steps=7", "schedule.lr.milestones=[]"]},
        {"label": "Twos", "overrides": ["dataset=mnist5k", "model.width=0.5"], "paper": []},
    ]
    rows = [
        {"label": "Softmax", "overrides": ["loss=softmax"], "numbers": [9.05, None]},
        {"label": "L-Softmax (m=4)", "overrides": ["loss.m=4"], "numbers": [7.58, 5.92]},
    ]
    published = [{"label": "Others (1999)", "numbers": [None, 8.39]}]
    return {"title": "Errors", "metric": "test_error", "columns": columns, "published": published, "rows": rows}


@pytest.fixture
def wanted(table, elsewhere) -> list:
    return list(cells(table, {}, 3))


@pytest.fixture
def runs(wanted, made_up):
    """runs(row, change per seed, ...) -> the records of that row in Ones, best, of as many seeds."""

    def make(row: str, *changes: dict) -> dict:
        place = (row, "Ones", "best")
        found = [cell for cell in wanted if (cell.row, cell.column, cell.recipe) == place]
        records = [made_up(cell.settings, **change) for cell, change in zip(found, changes, strict=False)]
        return {record["config_sha256"]: record for record in records}

    return make


DIVERGED = {"status": "diverged", "test_error": None, "train_error": None, "wrong": None, "predicted_classes": None}


COLLAPSED = {"wrong": range(90), "predicted_classes": 1, "train_error": 90.0}


@pytest.fixture(autouse=True)
def handlers():
    """run_all takes SIGTERM for its own."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def jpeg(seed: int, height: int = 112, width: int = 96) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR).save(file, "JPEG")
    return file.getvalue()


def write_people(root: Path, people: dict[str, int], height: int = 112, width: int = 96) -> Path:
    seed = 0
    for person, count in people.items():
        (root / person).mkdir(parents=True)
        for number in range(1, count + 1):
            (root / person / f"{number:03d}.jpg").write_bytes(jpeg(seed, height, width))
            seed += 1
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of three people, one of them of LFW too."""
    return write_people(tmp_path / "CASIA", {"0000045": 3, "0000099": 1, "0166921": 2})


def options(source: Path, out: Path, *other: str) -> list[str]:
    return [f"source={source}", f"out={out}", "workers=1", *other]


FIGURES_OF_RUNS = ["2", "5", "6", "7", "roc"]
PROFILES = ["full", "small", "tiny"]


@pytest.fixture(scope="session")
def planned() -> dict:
    """(figure, profile, column, row) -> its cell of seed 0; composing all of them is the point."""
    return {
        (name, profile, cell.column, cell.row): cell
        for name in FIGURES_OF_RUNS
        for profile in PROFILES
        for cell in _plan.figure_cells(_plan.read_figure(name), _plan.read_profile(profile), 1)
    }


def of(planned: dict, name: str, profile: str) -> list:
    return [cell for key, cell in planned.items() if key[:2] == (name, profile)]
