"""The run folder's name: the same for what is the same, another for everything else."""

from pathlib import Path

import pytest

from configs import ROOT, compose
from configs.arguments import jobs
from configs.run_directory import run_directory
from configs.schema import Settings


def folder(*overrides: str) -> Path:
    return run_directory(compose(overrides), overrides)


def test_the_bare_command_has_a_folder(default: Settings) -> None:
    assert run_directory(default, []) == ROOT / "outputs/runs/mnist5k/default/seed=0"


def test_a_folder_says_data_set_options_and_seed() -> None:
    assert folder("loss.m=3", "dataset=cifar10", "seed=5") == ROOT / "outputs/runs/cifar10/loss.m=3/seed=5"


def test_the_order_of_options_does_not_matter(default: Settings) -> None:
    options = ["loss.m=3", "model.width=0.5", "schedule.steps=9"]
    assert run_directory(default, options) == run_directory(default, options[::-1])


OUTSIDE = [
    "device=cpu",
    "trainer=fast",
    "trainer.eval_every=3",
    "trainer.overwrite=true",
    "data_root=/data",
    "data_download=false",
    "++trainer.log_every=2",
    "+trainer.log_every=2",
]


@pytest.mark.parametrize("option", OUTSIDE)
def test_how_a_run_is_executed_is_not_in_its_name(default: Settings, option: str) -> None:
    assert run_directory(default, [option]) == run_directory(default, [])


@pytest.mark.parametrize("option", ["dataset.train_images=100", "dataset.classes=2", "dataset.name=mnist"])
def test_a_part_of_the_data_set_is_in_the_name(default: Settings, option: str) -> None:
    assert option in run_directory(default, ["dataset=mnist5k", option]).parts


def test_the_seed_is_the_last_folder_alone() -> None:
    assert folder("seed=3").parent == folder("seed=4").parent == folder().parent
    assert folder("seed=3") != folder("seed=4")


def test_an_experiments_runs_lie_with_its_data_set() -> None:
    assert folder("experiment=caffe_mnist") == ROOT / "outputs/runs/mnist/experiment=caffe_mnist/seed=0"


def test_a_data_set_above_an_experiment_gives_another_folder() -> None:
    assert folder("experiment=cifar10_cpu") != folder("experiment=cifar10_cpu", "dataset=cifar100")


OPTIONS = [
    "a=1",
    "a=1.0",
    "a=[1,2]",
    "a=[1, 2]",
    "a=(1,2)",
    "a=1/2",
    "a=1\\2",
    "a='1'",
    'a="1"',
    "a=1_2",
    "a=1 2",
    "A=1",
]


def test_options_that_differ_in_odd_characters_have_folders_of_their_own(default: Settings) -> None:
    assert len({run_directory(default, [option]) for option in OPTIONS}) == len(OPTIONS)


def test_the_last_of_two_values_for_a_key_makes_the_folder() -> None:
    [first], [second] = jobs(["loss.m=4", "loss.m=5"], sweep=False), jobs(["loss.m=5", "loss.m=4"], sweep=False)
    assert (folder(*first), folder(*second)) == (folder("loss.m=5"), folder("loss.m=4"))


@pytest.mark.parametrize("odd", ["../../../etc", "a/b", "..", "\n", "\t*?|<>:;&$`", "é漢字", "-rf", " "])
def test_an_odd_value_stays_one_folder_below_its_data_set(default: Settings, odd: str) -> None:
    path = run_directory(default, [f"init_from='{odd}'"])
    assert path.resolve().relative_to(ROOT / "outputs/runs/mnist5k").parts[1:] == ("seed=0",)
    assert not set(path.parts[-2]) & set("\n\t*?|<>:;&$`'\" /\\")


@pytest.mark.parametrize("letter", ["x", "é", "漢"])
def test_very_long_options_fit_a_file_system(default: Settings, letter: str, tmp_path: Path) -> None:
    name = run_directory(default, [f"init_from='{letter * 400}'"]).parts[-2]
    (tmp_path / name).mkdir()


def test_very_long_options_without_an_odd_character_fit_a_file_system_too(default: Settings, tmp_path: Path) -> None:
    (tmp_path / run_directory(default, ["a=" + "x" * 400]).parts[-2]).mkdir()


def test_very_long_options_that_differ_at_their_end_have_folders_of_their_own(default: Settings) -> None:
    assert run_directory(default, ["a=" + "x" * 400 + "1"]) != run_directory(default, ["a=" + "x" * 400 + "2"])


def test_an_explicit_folder_is_taken_as_it_is() -> None:
    assert folder("run_dir=some/where", "loss.m=2", "seed=3") == Path("some/where")


def test_an_explicit_folder_may_start_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder("run_dir='~/runs/one'") == tmp_path / "runs/one"


def test_the_folder_does_not_depend_on_the_working_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = folder()
    monkeypatch.chdir(tmp_path)
    assert folder() == before
