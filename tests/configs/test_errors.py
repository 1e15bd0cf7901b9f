"""What is no value: unknown keys, keys of another choice, text that cannot be read. Always one line."""

import shutil
from pathlib import Path

import pytest

from configs import ConfigError, arguments, compose, settings


def message(*overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        compose(overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


TYPOS = {
    "loss.mm=4": "loss.m",
    "sede=3": "seed",
    "devce=cpu": "device",
    "schedule.lr.bse=0.1": "schedule.lr.base",
    "schedule.lam.gama=1": "schedule.lam.gamma",
    "schedule.batchsize=64": "schedule.batch_size",
    "trainer.eval_evry=10": "trainer.eval_every",
    "dataset.train_image=10": "dataset.train_images",
    "model.widht=0.5": "model.width",
    "+schedule.weigth_decay=1": "schedule.weight_decay",
    "++trainer.overwite=true": "trainer.overwrite",
}


@pytest.mark.parametrize("option", TYPOS)
def test_a_mistyped_key_suggests_the_right_one(option: str) -> None:
    key = option.split("=")[0].lstrip("+")
    assert message(option) == f"unknown key {key}; did you mean {TYPOS[option]}?"


@pytest.mark.parametrize("group", ["dataset", "model", "schedule", "trainer", "experiment", "debug"])
def test_a_mistyped_group_suggests_the_right_one(group: str) -> None:
    mistyped = group[:-2] + group[-1] + group[-2]
    assert message(f"{mistyped}=x") == f"unknown key {mistyped}; did you mean {group}?"


@pytest.mark.parametrize("option", ["qqqqqq=1", "+qqqqqq=1"])
def test_a_key_like_no_other_points_to_the_help(option: str) -> None:
    assert message(option) == "unknown key qqqqqq; see python train.py --help"


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (("loss=softmax", "loss.m=4"), "loss.m"),
        (("loss=softmax", "loss.gradient=exact"), "loss.gradient"),
        (("loss=softmax", "+loss.m=4"), "loss.m"),
        (("dataset.like=mnist",), "dataset.like"),
        (("dataset=cifar10", "dataset.test_images=3"), "dataset.test_images"),
    ],
)
def test_a_key_of_another_choice_is_said_to_be_one(overrides: tuple[str, ...], key: str) -> None:
    assert message(*overrides).startswith(f"{key} does not go with the chosen {key.split('.')[0]}")


@pytest.mark.parametrize("key", ["schedule.gradient", "loss.gradient"])
def test_a_wrong_gradient_is_the_one_that_was_typed(key: str) -> None:
    """loss.gradient follows schedule.gradient."""
    assert message(f"{key}=exacter") == f"{key} must be one of exact, norms_live, detached, got 'exacter'"


@pytest.mark.parametrize("option", ["loss.m", "loss.m='", "loss.m=[1", "loss..m=3", ".m=3", "a b", "loss.m = 4", "{}"])
def test_an_option_that_cannot_be_read_is_shown(option: str) -> None:
    assert message(option) == f"cannot read {option!r}; options are written key=value"


PATHS = ["~/data", "outputs/runs/mnist5k/loss=softmax/seed=0", "a folder/with 'quotes'", "a/b=1,c=[1,2]"]
PATHS += ["/tmp/josé", "/tmp/数据", "a#b", "a;b&c", "12:30/50%", "[a]/{b}", "a!^`<>", "back\\slash's \\", "one=\\'"]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_needs_no_quotes(path: str) -> None:
    assert compose([f"data_root={path}", f"run_dir={path}"]).data_root == path
    assert compose(["dataset=webface", f"dataset.folder={path}"]).dataset.folder == path
    assert compose([f"++init_from={path}"]).init_from == path


def test_a_reference_in_a_path_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "/tmp/é")
    assert compose(["run_dir=${oc.env:HERE}/a"]).run_dir == "/tmp/é/a"
    assert compose(["run_dir=${oc.env:HERE}/b=é"]).run_dir == "/tmp/é/b=é"


@pytest.mark.parametrize("option", ["hydra.sweep.dir=/tmp", "+hydra.a=1", "++hydra.run.dir=/tmp", "~hydra.run.dir"])
def test_hydras_own_keys_are_said_to_do_nothing(option: str) -> None:
    key = option.partition("=")[0].lstrip("+~")
    assert message(option) == f"{key} is Hydra's own and has no effect here"


@pytest.mark.parametrize("option", ["loss.m=1,2", "loss.m=range(1,4)", "dataset=mnist,cifar10", "seed=choice(1,2)"])
def test_a_list_of_values_without_m_points_to_the_sweep(option: str) -> None:
    said = message(option)
    assert option in said and ("-m" in said or "--multirun" in said)


@pytest.mark.parametrize("group", ["dataset", "model", "loss", "schedule", "trainer"])
def test_a_group_that_is_null_is_an_error_that_names_it(group: str) -> None:
    assert group in message(f"{group}=null")


@pytest.mark.parametrize(
    "option",
    [
        "schedule=5",
        "dataset=1.5",
        "loss=1e3",
        "experiment=1",
        "debug=true",
        "dataset={a:1}",
        "model=",
        "trainer=-1",
        "loss=[1]",
        "debug=[smoke,1]",
    ],
)
def test_a_group_that_is_no_name_shows_the_names(option: str) -> None:
    group = option.partition("=")[0]
    said = message(option)
    assert said.startswith(f"{group}=") and f": choose one of {arguments.groups()[group][0]}" in said


def test_a_key_as_near_to_several_names_them() -> None:
    assert message("loss.n=3") == "unknown key loss.n; did you mean loss.s or loss.m?"


@pytest.mark.parametrize("text", ["name: [softmax", "a: b: c", "\tname: softmax"])
def test_a_configuration_file_that_is_no_yaml_is_one_line(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(settings.ROOT / "configs", tmp_path / "configs")
    (tmp_path / "configs" / "loss" / "softmax.yaml").write_text(text)
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    said = message("loss=softmax")
    assert said.startswith("a file of the configuration cannot be read: ") and "softmax.yaml" in said


@pytest.mark.parametrize("option", ["~loss", "~trainer", "~loss.m", "~schedule.lr"])
def test_a_deleted_key_is_missing(option: str) -> None:
    assert message(option) == f"{option[1:]} is missing"


@pytest.mark.parametrize("value", ["[]", "[a]", "3", "null", "true"])
def test_what_is_deleted_is_a_name(value: str) -> None:
    assert message(f"~loss={value}") == f"~loss={value}: loss cannot be taken away; choose one with loss=NAME"


@pytest.mark.parametrize(
    "option", ["=3", "++loss=3", "+foo/bar=x", "loss@foo=softmax", "experiment=[caffe_mnist,nope]"]
)
def test_other_nonsense_is_an_error_too(option: str) -> None:
    assert message(option)


@pytest.mark.parametrize("value", ["${nope}", "${oc.env:NO_SUCH_VARIABLE}", "${nope:}"])
def test_a_reference_to_nothing_is_an_error_that_names_it(value: str) -> None:
    assert value.strip("${}:").removeprefix("oc.env:") in message(f"seed={value}")
    assert message(f"loss.m={value}").startswith("loss.m: ")


@pytest.mark.parametrize("option", ["table=3", "+figure=2", "study=ways", "profile=small"])
def test_what_another_command_takes_is_said_to_be_its(option: str) -> None:
    group = option.partition("=")[0].lstrip("+")
    assert message(option) == f"{option}: {group}= is for scripts/reproduce.py"
    assert group not in arguments.groups()


def test_lfw_dev_cannot_follow_held_out_data() -> None:
    assert message("dataset=lfw_dev", "schedule.lr.kind=plateau").endswith("held-out data, of which lfw_dev has none")
