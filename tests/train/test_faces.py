"""Training on faces from end to end: the numbers of verification, streaming, and what a user's mistake comes to."""

import io
import json
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import assemble
import train
from configs import ROOT, compose
from configs.run_directory import run_directory
from configs.settings import identity
from data import DeviceLoader, ImageSet, Splits, StreamLoader
from data.faces.crop import Crop
from lsoftmax.engine.signals import StopRequest
from lsoftmax.engine.verification import after_pca, verify
from lsoftmax.engine.weights import read_weights
from lsoftmax.metrics import FoldWarning

CPU = torch.device("cpu")
PEOPLE, EACH = 24, 3
TINY = ["device=cpu", "model=face_narrow", "model.width=0.0625", "loss.m=2", "seed=0"]
TINY += ["schedule.steps=2", "schedule.batch_size=4", "schedule.lr.base=0.001", "schedule.lr.milestones=[1]"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with webface/, a pack of 24 people, and lfw/, the same people as files and lists."""
    root = tmp_path_factory.mktemp("root")
    random = np.random.default_rng(0)
    faces = random.integers(0, 256, (PEOPLE, 1, 3, 4, 4)) + random.integers(-20, 21, (PEOPLE, EACH, 3, 4, 4))
    small = faces.clip(0, 255).astype(np.uint8)
    images = np.repeat(np.repeat(small, 28, axis=3), 24, axis=4).reshape(PEOPLE * EACH, 3, 112, 96)
    names = [f"P{person:02d}" for person in range(PEOPLE)]

    pack = root / "webface"
    pack.mkdir()
    np.save(pack / "images.npy", images)
    np.save(pack / "labels.npy", np.repeat(np.arange(PEOPLE), EACH))
    manifest = {"format": 1, "images": len(images), "identities": PEOPLE, "classes": names, **Crop().describe()}
    (pack / "manifest.json").write_text(json.dumps(manifest))

    for row, image in enumerate(images):
        name = names[row // EACH]
        path = root / "lfw" / "images" / name / f"{name}_{row % EACH + 1:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(path)
    people = "".join(f"{name}\t{EACH}\n" for name in names[:12])
    (root / "lfw" / "peopleDevTrain.txt").write_text(f"12\n{people}")
    for file, first in (("pairsDevTrain", 0), ("pairsDevTest", 12)):
        of = names[first : first + 12]
        matched = "".join(f"{name}\t1\t{2 + k % 2}\n" for k, name in enumerate(of))
        mismatched = "".join(f"{of[k]}\t1\t{of[(k + 1 + k % 3) % 12]}\t2\n" for k in range(12))
        (root / "lfw" / f"{file}.txt").write_text(f"12\n{matched}{mismatched}")
    return root


def run(root: Path, folder: Path, *options: str) -> dict[str, Any]:
    settings = compose([*TINY, f"data_root={root}", f"run_dir={folder}", *options])
    assert train.run(settings, folder).code == 0
    return json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def lfw_run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lfw_run")
    run(root, folder, "dataset=lfw_dev")
    return folder


def test_lfw_dev_records_what_scripts_verify_says(
    lfw_run: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from scripts.verify import verify as verify_script

    lfw = root / "lfw"
    pairs = [f"pairs={lfw / 'pairsDevTest.txt'}", f"tune={lfw / 'pairsDevTrain.txt'}"]
    verify_script([f"run={lfw_run}", f"images={lfw / 'images'}", *pairs, f"out={tmp_path / 'out'}", "device=cpu"])
    said = json.loads((tmp_path / "out" / "verification.json").read_text())
    recorded = json.loads((lfw_run / "result.json").read_text())["verification"]["pairsDevTest"]
    assert recorded["pairs"] == 24 and recorded["std"] is None
    assert recorded["wrong_pairs"] == said["wrong_pairs"] and recorded["thresholds"] == said["thresholds"]
    for key in ("accuracy", "standard_error", "auc", "eer", "tar_at_far"):
        assert recorded[key] == said[key]


def test_the_summary_says_how_many_pairs_were_right(
    lfw_run: Path, capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    settings = compose([*TINY, "dataset=lfw_dev", f"data_root={root}", f"run_dir={lfw_run}"])
    assert train.run(settings, lfw_run).code == 0  # it has ended already
    accuracy = json.loads((lfw_run / "result.json").read_text())["verification"]["pairsDevTest"]["accuracy"]
    assert f"pairsDevTest {100 * accuracy:.2f} % +- " in capsys.readouterr().out


@pytest.mark.parametrize("stream", ["true", "false"])
def test_webface_is_verified_on_the_people_held_out(root: Path, tmp_path: Path, stream: str) -> None:
    result = run(root, tmp_path, "dataset=webface", "dataset.validation=20", f"dataset.stream={stream}")
    assert (result["num_classes"], result["test_images"]) == (PEOPLE - 20, 1)
    held_out = result["verification"]["held_out"]
    assert held_out["pairs"] == 20 * (EACH - 1) * 2 and len(held_out["thresholds"]) == 10
    assert 0 <= held_out["accuracy"] <= 1 and held_out["std"] is not None


def test_streaming_changes_no_number(root: Path, tmp_path: Path) -> None:
    results = [
        run(root, tmp_path / stream, "dataset=webface", f"dataset.stream={stream}") for stream in ("true", "false")
    ]
    for key in ("curve", "train_error", "test_error", "wrong", "dataset_sha256", "config_sha256", "verification"):
        assert results[0][key] == results[1][key]
    assert results[0]["verification"] is None  # nobody is held out
    weights = [(tmp_path / stream / "model.safetensors").read_bytes() for stream in ("true", "false")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("option", "free", "kind"),
    [
        ("null", 10**12, DeviceLoader),
        ("null", 2 * 68 * 3 * 112 * 96, DeviceLoader),  # 68 images: just half of the memory
        ("null", 2 * 68 * 3 * 112 * 96 - 2, StreamLoader),
        ("true", 10**12, StreamLoader),
        ("false", 0, DeviceLoader),
    ],
)
def test_a_set_is_streamed_by_need_or_by_order(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, free: int, kind: type
) -> None:
    monkeypatch.setattr(assemble, "free_bytes", lambda device: free)
    options = ["dataset=webface", "dataset.test_images=4", f"dataset.stream={option}", f"data_root={root}"]
    settings = compose([*TINY, *options])
    splits = assemble.load_data(settings)
    mean = torch.zeros(3, 1, 1)
    trainer = assemble.make_trainer(settings, splits, mean, CPU, tmp_path / "checkpoint.pt")
    assert type(trainer.loader) is kind


@pytest.mark.parametrize("people", [100, 300_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_any_number_of_people_is_learned_and_told_apart(tmp_path: Path, people: int) -> None:
    labels = torch.tensor([0, 1, people // 2, people - 1])
    pixels = torch.randint(0, 256, (4, 3, 112, 96), generator=torch.Generator().manual_seed(0)).byte()
    few = ImageSet(pixels, labels, ("",) * people)
    settings = compose([*TINY, "dataset=webface", "schedule.steps=30", "schedule.lr.milestones=[]"])
    trainer = assemble.make_trainer(settings, Splits(few, None, few), torch.full((3, 1, 1), 127.5), CPU, tmp_path / "x")
    for _ in range(30):
        trainer._step()
    found = trainer.evaluate("test", StopRequest())
    assert trainer.criterion.weight.shape[0] == people and found.error == 0
    assert found.predictions.tolist() == labels.tolist()


def test_how_a_set_is_read_is_not_what_was_asked() -> None:
    asked = [["dataset=webface"], ["dataset=webface", "dataset.stream=true"]]
    assert identity(compose(asked[0])) == identity(compose(asked[1]))
    assert run_directory(compose(asked[0]), asked[0]) == run_directory(compose(asked[1]), asked[1])


def test_the_options_of_faces_are_in_the_identity_of_faces_alone() -> None:
    assert {"folder", "test_images"} <= identity(compose(["dataset=webface"]))["dataset"].keys()
    assert {"min_images", "test_images"} <= identity(compose(["dataset=lfw_dev"]))["dataset"].keys()
    keys = {"name", "augment", "mean", "scale", "validation", "train_images", "classes"}
    assert identity(compose(["dataset=cifar10"]))["dataset"].keys() == keys
    for name in ("train_part", "first_class"):
        assert identity(compose(["dataset=cifar10", f"dataset.{name}=1"]))["dataset"].keys() == keys | {name}


def test_features_that_are_zero_have_no_principal_axes() -> None:
    columns = (torch.tensor([0, 1, 0, 1]), torch.tensor([1, 2, 2, 0]), torch.tensor([True, False, True, False]))
    folds = torch.tensor([0, 0, 1, 1])
    assert after_pca(torch.zeros(3, 300), columns, folds=folds) == {}
    assert after_pca(torch.randn(3, 300), columns, folds=folds) == {}  # four images in a fold have no 64 axes


def test_a_collapsed_network_is_verified_at_chance() -> None:
    columns = (torch.tensor([0, 1]), torch.tensor([1, 2]), torch.tensor([True, False]))
    verification = verify(torch.zeros(3, 4), columns, tune=columns, folds=None)
    assert verification.accuracy == 0.5


@pytest.mark.parametrize("spoil", ["missing", "damaged"])
def test_a_wrong_pack_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: str) -> None:
    if spoil == "damaged":
        (tmp_path / "webface").mkdir()
        (tmp_path / "webface" / "manifest.json").write_text('{"format": 1, "images": 3')
    settings = compose([*TINY, "dataset=webface", f"data_root={tmp_path}"])
    assert train.run(settings, tmp_path / "run").code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path}/webface/manifest.json: ") and said.count("\n") == 1


@pytest.mark.parametrize(("dataset", "align"), [("webface", "umeyama"), ("lfw_dev", "none")])
def test_how_the_faces_were_prepared_is_in_the_record_and_in_the_weights(
    root: Path, tmp_path: Path, dataset: str, align: str
) -> None:
    made = Crop(align=align).describe()  # type: ignore[arg-type]
    assert run(root, tmp_path, f"dataset={dataset}")["preparation"] == made
    assert read_weights(tmp_path / "model.safetensors")[1]["preparation"] == made


PLATEAU = ["schedule.lr.kind=plateau", "schedule.lr.every=1", "schedule.lr.patience=0", "schedule.lr.minimum=0"]


def test_a_rate_by_plateau_looks_at_the_people_held_out(root: Path, tmp_path: Path) -> None:
    result = run(root, tmp_path, "dataset=webface", "dataset.validation=20", *PLATEAU)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    last = 100 * (1 - result["verification"]["held_out"]["accuracy"])
    assert [line["step"] for line in lines if "val_error" in line] == [1, 2] and lines[-1]["val_error"] == last


def test_a_rate_by_plateau_looks_at_the_images_held_out(tmp_path: Path) -> None:
    options = ["dataset=mnist5k", "debug=smoke", "dataset.validation=50", "device=cpu", f"run_dir={tmp_path}"]
    settings = compose([*options, "schedule.steps=2", "schedule.lr.milestones=[]", *PLATEAU])
    assert train.run(settings, tmp_path).code == 0
    result = json.loads((tmp_path / "result.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2 and lines[-1]["val_error"] == result["val_error"]


def test_webface_is_verified_on_test_pairs_as_scripts_verify_does(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the people held out beside them."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from scripts.verify import verify as verify_script

    (tmp_path / "root").mkdir()
    for name in ("webface", "lfw_packed"):
        shutil.copytree(root / "webface", tmp_path / "root" / name)
    names = [f"P{person:02d}/P{person:02d}_{number:04d}.jpg" for person in range(PEOPLE) for number in (1, 2, 3)]
    packed = tmp_path / "root" / "lfw_packed"
    (packed / "names.txt").write_text("\n".join(names) + "\n")
    lines = [f"P{k:02d}\t1\t2\nP{k:02d}\t1\tP{k + 1:02d}\t3" for k in range(20)]
    (packed / "pairs.txt").write_text("10\t2\n" + "\n".join(lines))

    monkeypatch.setattr("lsoftmax.engine.verification.PCA", (2, 3, 10_000))
    options = ["experiment=casia_lfw", "dataset.validation=20"]
    verification = run(tmp_path / "root", tmp_path / "run", *options)["verification"]
    assert verification.keys() == {"held_out", "lfw"}
    options = [f"run={tmp_path / 'run'}", f"images={packed}", f"pairs={packed / 'pairs.txt'}", f"out={tmp_path}"]
    verify_script([*options, "device=cpu"])
    said = json.loads((tmp_path / "verification.json").read_text())
    for key in ("accuracy", "standard_error", "std", "thresholds", "auc", "eer", "wrong_pairs", "tar_at_far"):
        assert verification["lfw"][key] == said[key]
    assert verification["lfw"]["pca"].keys() == {"2", "3"} and "pca" not in verification["held_out"]
    verify_script([*options, "device=cpu", "pca=3"])
    reduced = json.loads((tmp_path / "verification.json").read_text())
    assert verification["lfw"]["pca"]["3"]["accuracy"] == reduced["accuracy"] != said["accuracy"]


def test_what_should_be_said_of_the_pairs_is_said(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "webface").symlink_to(root / "webface")
    file = io.BytesIO()
    Image.new("RGB", (112, 112)).save(file, "PNG")
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps(([file.getvalue()] * 40, [k % 2 == 0 for k in range(20)])))
    result = run(tmp_path, tmp_path / "run", "experiment=casia_lfw")
    assert "warning: lfw: alignment umeyama/SphereFace in training, none/none here" in capsys.readouterr().out
    assert result["verification"]["lfw"]["accuracy"] == 0.5 and "remarks" not in result["verification"]["lfw"]
    assert [note.partition(",")[0] for note in result["notes"]] == ["lfw: alignment umeyama/SphereFace in training"]


def test_a_warning_of_the_protocol_is_said_and_recorded(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(*arguments: Any) -> Any:
        warnings.warn("odd folds", FoldWarning, stacklevel=1)
        return judged(*arguments)

    judged = assemble._judge
    monkeypatch.setattr(assemble, "_judge", judge)
    result = run(root, tmp_path, "dataset=lfw_dev")
    assert result["verification"]["pairsDevTest"]["remarks"] == ["odd folds"] and "notes" not in result
    assert "warning: pairsDevTest: odd folds" in capsys.readouterr().out
