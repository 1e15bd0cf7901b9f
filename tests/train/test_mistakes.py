"""train.py: what a user can mend is one line and exit code 2."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lsoftmax.engine.trainer import Trainer

Options = tuple[str, ...]
Command = Callable[..., Any]
Result = Callable[[Path], dict[str, Any]]


def test_missing_data_are_one_line_and_leave_nothing_but_the_folder(command: Command, tmp_path: Path) -> None:
    root, path = tmp_path / "empty", tmp_path / "run"
    done = command("dataset=mnist", f"data_root={root}", "data_download=false", f"run_dir={path}", "device=cpu")
    assert done.is_users_mistake()
    assert str(root) in done.err and "mnist5k" in done.err
    assert {item.name for item in path.iterdir()} <= {".lock"} and not root.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one here")
def test_cuda_without_a_card_is_an_error(command: Command, tmp_path: Path, tiny: Options) -> None:
    done = command(*tiny, "device=cuda", f"run_dir={tmp_path / 'run'}")
    assert done.is_users_mistake()
    assert "device=cuda" in done.err and "device=cpu" in done.err


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:x", "meta"])
def test_a_device_that_cannot_train_is_an_error_that_names_it(
    command: Command, tmp_path: Path, device: str, tiny: Options
) -> None:
    done = command(*tiny, f"device={device}", f"run_dir={tmp_path / 'run'}")
    assert done.is_users_mistake()
    assert f"device={device}" in done.err


IMPOSSIBLE = {
    "model.filters=[1,2]": "filters",
    "model.input_size=[1,1]": "input_size",
    "dataset.classes=11": "dataset.classes=11",
    "init_from=/no/such/run": "/no/such/run/model.safetensors",
    "model.width=1e300": "width",
}


@pytest.mark.parametrize("options", IMPOSSIBLE)
def test_what_only_the_data_can_refuse_is_one_line(
    command: Command, tmp_path: Path, options: str, tiny: Options
) -> None:
    done = command(*tiny, *options.split(), f"run_dir={tmp_path / 'run'}")
    assert done.is_users_mistake()
    assert IMPOSSIBLE[options] in done.err


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory")])
def test_too_little_memory_is_one_line_and_the_run_can_be_tried_again(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: Options, error: Exception
) -> None:
    def refuse(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run", refuse)
        done = command(*tiny, f"run_dir={tmp_path / 'run'}")
    assert done.is_users_mistake()
    assert "schedule.batch_size" in done.err
    assert command(*tiny, f"run_dir={tmp_path / 'run'}").code == 0


@pytest.mark.parametrize("key", ["validation", "train_images"])
def test_more_images_than_there_are_is_one_line(command: Command, tmp_path: Path, key: str) -> None:
    done = command("device=cpu", f"dataset.{key}=4001", f"run_dir={tmp_path / 'run'}")
    assert done.is_users_mistake()
    assert f"dataset.{key}=4001" in done.err


def test_a_run_folder_that_cannot_be_made_is_one_line(command: Command, tmp_path: Path, tiny: Options) -> None:
    (tmp_path / "file").write_text("")
    assert command(*tiny, f"run_dir={tmp_path / 'file' / 'run'}").is_users_mistake()


MISTAKES = ["device=cuda:99", "dataset.classes=11", "model.filters=[1,2]", "init_from=/no/such/run"]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_overwrite_keeps_the_run_until_the_new_one_can_begin(
    command: Command, ended: Path, mistake: str, tiny: Options
) -> None:
    before = {item.name: item.read_bytes() for item in ended.iterdir() if item.name != ".lock"}
    assert command(*tiny, mistake, f"run_dir={ended}", "trainer.overwrite=true").is_users_mistake()
    assert {item.name: item.read_bytes() for item in ended.iterdir() if item.name != ".lock"} == before


def test_overwrite_does_not_empty_the_folder_that_a_run_starts_from(
    command: Command, ended: Path, tiny: Options, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(ended)
    done = command(*tiny, f"init_from={tmp_path / 'link'}", f"run_dir={ended}", "trainer.overwrite=true")
    assert done.is_users_mistake() and "choose another run_dir=" in done.err
    assert (ended / "result.json").exists() and (ended / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["result.json", "checkpoint.pt"])
def test_a_folder_in_the_place_of_a_file_is_one_line(command: Command, ended: Path, name: str, tiny: Options) -> None:
    (ended / name).unlink(missing_ok=True)
    (ended / name).mkdir()
    before = sorted(ended.iterdir())
    done = command(*tiny, f"run_dir={ended}", "trainer.overwrite=true")
    assert done.is_users_mistake() and f"{ended / name}: it is a folder" in done.err
    assert sorted(ended.iterdir()) == before


LACKING = [{"precision": None}, {"seconds": None}, {"test_error": "much"}, {"status": "diverged", "divergences": []}]


@pytest.mark.parametrize("change", LACKING)
def test_a_record_that_lacks_what_is_shown_is_one_line(
    command: Command, ended: Path, change: dict[str, Any], tiny: Options, result: Result
) -> None:
    record = {key: value for key, value in (result(ended) | change).items() if value is not None}
    (ended / "result.json").write_text(json.dumps(record))
    done = command(*tiny, f"run_dir={ended}")
    assert done.is_users_mistake() and "result.json is damaged; trainer.overwrite=true" in done.err
    assert command(*tiny, f"run_dir={ended}", "trainer.overwrite=true").code == 0


@pytest.mark.parametrize("key", ["data_root", "init_from"])
def test_the_home_of_nobody_is_one_line(command: Command, tmp_path: Path, key: str, tiny: Options) -> None:
    assert command(*tiny, f"{key}='~no_such_user/x'", f"run_dir={tmp_path / 'run'}").is_users_mistake()
