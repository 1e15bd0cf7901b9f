"""The crossing into typed settings, and back into a file."""

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs import ROOT, ConfigError, compose, schema
from configs.schema import UNUSED_BY, UNUSED_BY_LR, Lambda, LearningRate, Settings, Trainer
from configs.settings import from_file, identity, identity_of, of_run, to_yaml
from lsoftmax.engine.folder import identity_sha256
from lsoftmax.engine.plan import TrainerOptions
from scripts import _plan

ASKED = {"dataset", "model", "loss", "schedule", "init_from", "seed"}


@pytest.fixture(scope="module")
def default() -> Settings:
    return compose()


def test_the_schemas_trainer_has_the_fields_of_the_trainers_options() -> None:
    assert [item.name for item in fields(Trainer)] == [item.name for item in fields(TrainerOptions)]


def test_what_was_asked_is_data_network_loss_schedule_weights_and_seed(default: Settings) -> None:
    asked = {key: value for key, value in asdict(default).items() if key in ASKED}
    del asked["dataset"]["check_integrity"]
    for name in ("train_part", "first_class"):
        assert asked["dataset"].pop(name) == 0  # goes without saying
    del asked["schedule"]["gradient"], asked["schedule"]["margin_on"]  # they are in the loss
    assert asked["loss"].pop("margin_on") == "all"  # goes without saying
    for name in ("accuracy", "rate"):  # of an adaptive lambda
        del asked["schedule"]["lam"][name]
    asked["schedule"]["lr"] = {name: asked["schedule"]["lr"][name] for name in ("base", "milestones", "factor")}
    assert identity(default) == asked


def test_how_files_are_checked_is_not_what_was_asked() -> None:
    assert identity(compose(["dataset.check_integrity=false"])) == identity(compose([]))


KEPT = {
    "power": {"kind", "base", "gamma", "power", "minimum", "delay"},
    "constant": {"kind", "base", "gamma", "power", "minimum", "delay"},
    "adaptive": {"kind", "base", "minimum", "delay", "accuracy", "rate"},
}


@pytest.mark.parametrize("kind", KEPT)
def test_what_a_kind_of_lambda_takes_no_notice_of_is_not_what_was_asked(kind: str) -> None:
    assert identity(compose([f"schedule.lam.kind={kind}"]))["schedule"]["lam"].keys() == KEPT[kind]


@pytest.mark.parametrize("kind", KEPT)
def test_every_kind_of_lambda_says_what_it_takes_no_notice_of(kind: str) -> None:
    assert set(UNUSED_BY[kind]) == {item.name for item in fields(Lambda)} - KEPT[kind]


def test_a_rate_by_plateau_is_asked_with_its_own_keys() -> None:
    asked = identity(compose(["schedule.lr.kind=plateau", "dataset.validation=100"]))["schedule"]["lr"]
    assert asked.keys() == {item.name for item in fields(LearningRate)} - {"milestones"}
    assert set(UNUSED_BY_LR["step"]) == asked.keys() - {"base", "factor"}


def test_the_controllers_options_are_what_was_asked_of_an_adaptive_lambda() -> None:
    asked = [["schedule.lam.kind=adaptive", option] for option in ("seed=0", "schedule.lam.accuracy=0.8")]
    first, second = (identity(compose(options)) for options in asked)
    assert first != second


RECORDS = [json.loads(path.read_text()) for path in (ROOT / "outputs" / "results" / "small" / "runs").glob("*.json")]


def test_the_committed_runs_are_still_what_the_tables_and_figures_ask_for() -> None:
    """An option that comes in later must not change what an old run was."""
    profile, seeds = _plan.read_profile("small"), 1 + max(record["seed"] for record in RECORDS)
    plans = [_plan.read_table(name) for name in ("2", "3", "4", "5")]
    asked = [cell for plan in plans for cell in _plan.cells(plan, profile, seeds)]
    for name in _plan.names("figure"):
        asked += _plan.figure_cells(_plan.read_figure(name), profile, seeds)
    wanted = {identity_sha256(cell.identity) for cell in asked}
    assert len(RECORDS) >= 18 and {identity_sha256(identity_of(record)) for record in RECORDS} <= wanted


@pytest.mark.parametrize("keys", [("lam", "accuracy", "rate"), ("lr", "kind", "every", "patience", "minimum")])
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


def test_a_run_is_known_by_the_gradient_of_its_loss_alone() -> None:
    asked = [identity(compose([f"{key}.gradient=norms_live"])) for key in ("loss", "schedule")]
    assert asked[0] == asked[1] and "gradient" not in asked[0]["schedule"]


def test_the_file_of_a_run_made_before_schedules_had_a_gradient_can_be_read(tmp_path: Path) -> None:
    older = yaml.safe_load(to_yaml(compose()))
    del older["schedule"]["gradient"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(older))
    assert identity(from_file(tmp_path / "config.yaml")) == identity(compose())


def test_every_setting_is_either_asked_or_outside(default: Settings) -> None:
    assert asdict(default).keys() - ASKED == {"trainer", "device", "data_root", "data_download", "run_dir"}


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"data_root": "x"}, {"data_download": False}, {"run_dir": "x"}])
def test_where_and_with_what_a_run_is_executed_is_not_what_was_asked(default: Settings, change: dict[str, Any]) -> None:
    assert identity(replace(default, **change)) == identity(default)


def test_trainer_options_are_not_what_was_asked(default: Settings) -> None:
    assert identity(compose(["trainer=fast", "trainer.eval_every=7"])) == identity(default)


@pytest.mark.parametrize("typed", ["outputs/runs/a/", "./outputs/runs/a", str(ROOT / "outputs/runs/a")])
def test_the_run_to_start_from_is_the_same_however_it_is_typed(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert identity(compose([f"init_from={typed}"])) == identity(compose(["init_from=outputs/runs/a"]))


def test_the_run_to_start_from_is_another_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = compose(["init_from=run"])
    asked = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        asked.append(identity(settings)["init_from"])
    assert asked == [str(tmp_path / name / "run") for name in ("a", "b")]


def test_what_was_asked_is_json(default: Settings) -> None:
    assert json.loads(json.dumps(identity(default), allow_nan=False)) == identity(default)


@pytest.mark.parametrize("written", ["schedule.lr.base=1", "schedule.lr.base=1.0", "schedule.lr.base=1e0"])
def test_a_number_is_the_same_however_it_is_written(written: str) -> None:
    base = compose([written]).schedule.lr.base
    assert (type(base), base) == (float, 1.0)


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


# What a loss without a margin ignores


@pytest.mark.parametrize("loss", ["softmax", "hinge", "contrastive", "triplet", "cosface", "arcface"])
def test_without_a_margin_that_lambda_anneals_a_run_has_no_lambda(loss: str) -> None:
    asked = [identity(compose([f"loss={loss}", f"schedule.lam.{change}"])) for change in ("kind=adaptive", "base=7")]
    assert asked[0] == asked[1] and "lam" not in asked[0]["schedule"]


@pytest.mark.parametrize("loss", ["lsoftmax", "asoftmax"])
def test_with_one_lambda_is_part_of_what_was_asked(loss: str) -> None:
    asked = [identity(compose([f"loss={loss}", f"schedule.lam.base={base}"])) for base in (7, 8)]
    assert asked[0] != asked[1]


def test_an_older_record_of_softmax_is_the_same_run() -> None:
    asked = identity(compose(["loss=softmax"]))
    older = asked | {"schedule": asked["schedule"] | {"lam": {"kind": "power", "base": 1000.0}}, "test_error": 1.0}
    assert identity_of(older) == asked


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


@dataclass
class OwnMargin(schema.LSoftmax):
    """A loss of one's own with a lambda and one more option."""

    smoothing: float = 0.1


def test_the_lambda_of_an_annealed_loss_of_ones_own_is_part_of_the_run(monkeypatch):
    monkeypatch.setitem(schema.LOSSES, "own", OwnMargin)
    plain = compose(["dataset=mnist5k"])
    own = replace(plain, loss=OwnMargin(**(asdict(plain.loss) | {"name": "own"})))
    assert identity_of(identity(own))["schedule"]["lam"] == identity(plain)["schedule"]["lam"]


def test_a_lambda_of_ones_own_needs_no_entry_among_the_unused():
    lam = replace(compose(["dataset=mnist5k"]).schedule.lam, kind="cosine")
    settings = compose(["dataset=mnist5k"])
    settings = replace(settings, schedule=replace(settings.schedule, lam=lam))
    assert identity(settings)["schedule"]["lam"]["kind"] == "cosine"


def test_of_several_options_the_one_that_would_make_another_run_is_named(default: Settings, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml(default))
    with pytest.raises(ConfigError, match="^seed=5: the run in .* was made otherwise"):
        of_run(tmp_path, ["device=cpu", "seed=5", "data_root=/x"])
