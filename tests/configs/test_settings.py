"""The crossing into typed settings, and back into a file."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

from configs import ROOT, ConfigError, compose
from configs.schema import Settings, Trainer
from configs.settings import from_file, identity, of_run, to_yaml
from lsoftmax.engine.plan import TrainerOptions


def test_the_schemas_trainer_has_the_fields_of_the_trainers_options() -> None:
    assert [item.name for item in fields(Trainer)] == [item.name for item in fields(TrainerOptions)]


@pytest.mark.parametrize("keys", [("lam", "accuracy", "rate", "guard"), ("lr", "kind", "every", "patience", "minimum")])
def test_the_file_of_a_run_made_before_there_were_these_keys_can_be_read(tmp_path: Path, keys: tuple[str, ...]) -> None:
    older = yaml.safe_load(to_yaml(compose()))
    for key in keys[1:]:
        del older["schedule"][keys[0]][key]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(older))
    assert identity(from_file(tmp_path / "config.yaml")) == identity(compose())


def test_the_file_of_a_run_made_before_steps_were_recorded_can_be_read(tmp_path: Path) -> None:
    older = yaml.safe_load(to_yaml(compose()))
    del older["trainer"]["cuda_graph"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(older))
    assert from_file(tmp_path / "config.yaml").trainer == compose().trainer


# The gradient, and who gets the margin, belong to the loss, their defaults to the schedule


def test_the_gradient_is_the_schedules_unless_it_is_given() -> None:
    asked = [[], ["loss.gradient=detached"], ["schedule.gradient=norms_live"], ["loss=lsoftmax_m2"]]
    gradients = [compose(["schedule=cifar10", *options]).loss.gradient for options in asked]
    assert gradients == ["norms_live", "detached", "norms_live", "norms_live"]
    assert compose(["schedule=cifar10_paper"]).loss.gradient == "exact"


def test_who_gets_the_margin_is_the_schedules_unless_it_is_given() -> None:
    asked = [[], ["schedule.margin_on=winners"], ["loss.margin_on=winners"]]
    assert [compose(options).loss.margin_on for options in asked] == ["all", "winners", "winners"]
    assert identity(compose(asked[1])) == identity(compose(asked[2])) != identity(compose())
    assert compose(["dataset=cifar10"]).loss.margin_on == "winners"


@pytest.mark.parametrize("loss", ["lsoftmax", "asoftmax", "softmax"])
def test_the_file_of_a_run_made_when_all_samples_had_the_margin_can_be_read(loss: str, tmp_path: Path) -> None:
    older = yaml.safe_load(to_yaml(compose([f"loss={loss}"])))
    del older["schedule"]["margin_on"]
    older["loss"].pop("margin_on", None)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(older))
    assert identity(from_file(tmp_path / "config.yaml")) == identity(compose([f"loss={loss}"]))


def test_the_file_of_a_run_made_when_hinges_were_summed_can_be_read(tmp_path: Path) -> None:
    older = yaml.safe_load(to_yaml(compose(["loss=hinge"])))
    del older["loss"]["class_reduction"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(older))
    summed = identity(compose(["loss=hinge", "loss.class_reduction=sum"]))
    assert identity(from_file(tmp_path / "config.yaml")) == summed and "class_reduction" not in summed["loss"]
    assert identity(compose(["loss=hinge", "loss.class_reduction=mean"]))["loss"]["class_reduction"] == "mean"


def test_the_file_of_a_run_made_before_schedules_had_a_gradient_can_be_read(tmp_path: Path) -> None:
    older = yaml.safe_load(to_yaml(compose()))
    del older["schedule"]["gradient"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(older))
    assert identity(from_file(tmp_path / "config.yaml")) == identity(compose())


def test_composing_twice_gives_the_same() -> None:
    assert compose(["dataset=cifar10"]) == compose(["dataset=cifar10"])


def test_the_data_lie_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSOFTMAX_DATA", "/some/where")
    assert compose().data_root == "/some/where"


def test_the_data_lie_in_the_repository_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LSOFTMAX_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert compose().data_root == str(ROOT / "outputs/data")


ROUND_TRIPS = [
    ["dataset=synthetic", "dataset.train_images=10", "model.filters=[1,2,3,4]", "model.input_size=[8,9]"],
    ["loss=softmax", "schedule.lr.base=1e-5", "schedule.lr.milestones=[]", "seed=4294967295"],
    ["dataset.mean=127.5", "run_dir='123'", "init_from='null'", "schedule.classifier.weight_decay=0.1"],
]


@pytest.mark.parametrize("overrides", ROUND_TRIPS)
def test_a_runs_config_file_reads_back_as_the_same_settings(overrides: list[str], tmp_path: Path) -> None:
    settings = compose(overrides)
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(settings))
    assert from_file(path) == replace(settings, device="auto")


def test_options_stand_above_a_runs_config_file(default: Settings, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(default))
    assert from_file(path, ["loss.m=2", "device=cpu"]) == compose(["loss.m=2", "device=cpu"])


@pytest.mark.parametrize("elsewhere", ["/elsewhere", "~no_such_user/data", "x" * 5000])
def test_a_runs_data_are_looked_for_where_this_machine_has_them(
    elsewhere: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(compose(["data_root=/x"])).replace("data_root: /x", f"data_root: {elsewhere}"))
    monkeypatch.setenv("LSOFTMAX_DATA", "/here")
    assert from_file(path).data_root == "/here"


def test_a_runs_data_are_looked_for_where_the_run_had_them_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(compose([f"data_root={tmp_path}"])))
    monkeypatch.setenv("LSOFTMAX_DATA", "/here")
    assert from_file(path).data_root == str(tmp_path)


@pytest.mark.parametrize("group", ["dataset", "model", "loss", "schedule", "experiment", "debug"])
def test_a_run_keeps_its_own_groups(group: str, default: Settings, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(default))
    with pytest.raises(ConfigError, match=f"^{group}=x: the run in .* has its own {group}$"):
        from_file(path, [f"{group}=x"])


BAD_FILES = ["", "abc", "[1, 2]", "a: [", "\x00", "dataset: {name: x}", "'${nope}'", "{}", "loss: 3", "? [a]\n: b"]


@pytest.mark.parametrize("text", BAD_FILES)
def test_a_damaged_config_file_is_an_error_of_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        from_file(path)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_config_file_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run in"):
        from_file(tmp_path / "config.yaml")


@pytest.mark.parametrize("option", ["loss.m", "loss.m=", "=2", "loss.m='", "loss.m=[", "loss.mm=2", "loss.m=0"])
def test_a_bad_option_above_a_config_file_is_an_error_of_one_line(
    option: str, default: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(default))
    with pytest.raises(ConfigError) as error:
        from_file(path, [option])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("loss", ["softmax", "hinge", "contrastive", "triplet", "cosface", "arcface"])
def test_without_a_margin_that_lambda_anneals_a_run_has_no_lambda(loss: str) -> None:
    asked = [identity(compose([f"loss={loss}", f"schedule.lam.{change}"])) for change in ("kind=adaptive", "base=7")]
    assert asked[0] == asked[1] and "lam" not in asked[0]["schedule"]


def test_an_empty_lsoftmax_data_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSOFTMAX_DATA", "")
    assert compose([]).data_root == str(ROOT / "outputs/data")


@pytest.fixture
def of_a_pack(tmp_path):
    """A run's folder, of a pack that has moved since."""
    settings = compose(["dataset=webface", f"dataset.folder={tmp_path / 'old'}"])
    (tmp_path / "config.yaml").write_text(to_yaml(settings))
    return tmp_path


def test_a_pack_may_have_moved(of_a_pack):
    assert of_run(of_a_pack, ["dataset.folder=/elsewhere"]).dataset.folder == "/elsewhere"


def test_nothing_else_of_the_data_may_be_given_anew(of_a_pack):
    with pytest.raises(ConfigError, match="dataset.validation=50: the run in .* was made otherwise"):
        of_run(of_a_pack, ["dataset.folder=/elsewhere", "dataset.validation=50"])


def test_of_several_options_the_one_that_would_make_another_run_is_named(default: Settings, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml(default))
    with pytest.raises(ConfigError, match="^seed=5: the run in .* was made otherwise"):
        of_run(tmp_path, ["device=cpu", "seed=5", "data_root=/x"])
