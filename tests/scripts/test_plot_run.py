"""scripts/plot_run.py: curves of runs on one page, whatever became of them."""

import json
import math
import sys

import pytest
from matplotlib.axes import Axes

from scripts import plot_run as module

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def made(tmp_path):
    """made("name", lines=..., result=...) -> the folder of a run that never ran."""

    def make(name, lines=12, result=None, **values):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        keys = ("loss", "train_error", "lam", "lr", "target_angle_q05", "target_angle_q50", "target_angle_q95")
        keys += ("feature_norm", "feature_norm_min", "feature_norm_max", "weight_norm", "gradient_norm")
        keys += ("wins", "wins_with_margin", "positive_psi")
        texts = [json.dumps(dict.fromkeys(keys, 1.0 / step) | values | {"step": step}) for step in range(1, lines + 1)]
        (folder / "metrics.jsonl").write_text("".join(text + "\n" for text in texts))
        if result is not None:
            (folder / "result.json").write_text(json.dumps(result))
        return folder

    return make


FINISHED = {"status": "finished", "num_classes": 10, "predicted_classes": 10, "test_images": 100}
FINISHED |= {"train_error": 1.0, "divergences": []}
DIVERGED = {"status": "diverged", "divergences": [{"step": 1234}]}


@pytest.fixture
def drawn(script, tmp_path):
    """drawn(folder, ...) -> what it said; the pictures are there."""

    def draw(*folders):
        said = script("plot_run", *map(str, folders), f"out={tmp_path / 'page' / 'curves.png'}")
        assert said.code == 0, said.err
        assert (tmp_path / "page" / "curves.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (tmp_path / "page" / "curves.svg").read_text()
        return said.out

    return draw


def test_a_run_that_has_validation_images_is_drawn_by_them(made):
    assert module._read(made("a/seed=0", test_error=30.0, val_error=20.0)).held_out()[1] == [20.0] * 12
    assert module._read(made("b/seed=0", test_error=30.0)).held_out()[1] == [30.0] * 12


def test_labels_are_what_runs_do_not_share(tmp_path):
    names = ["a=1,m=2,w=3/seed=0", "a=1,m=4,w=3/seed=0", "a=1,w=3/seed=1"]
    assert module._labels([tmp_path / name for name in names]) == ["m=2,w=3/seed=0", "m=4,w=3/seed=0", "w=3/seed=1"]
    assert module._labels([tmp_path / "a/seed=0", tmp_path / "a/seed=0"]) == ["seed=0", "seed=0"]


def test_it_draws_a_real_run(drawn, finished):
    assert "finished, " in drawn(finished) or "collapsed, " in drawn(finished)


def test_a_line_says_what_became_of_each_run(drawn, made):
    out = drawn(
        made("a=1/seed=0", result=FINISHED),
        made("a=2/seed=0", result=FINISHED | {"predicted_classes": 1}),
        made("a=3/seed=0", result=DIVERGED),
        made("a=4/seed=0", lines=3),
    )
    assert out.splitlines()[:4] == [
        "a=1/seed=0: finished, 12 logged steps up to step 12",
        "a=2/seed=0: collapsed, 12 logged steps up to step 12",
        "a=3/seed=0: diverged, 12 logged steps up to step 12, diverged at step 1,234",
        "a=4/seed=0: unfinished, 3 logged steps up to step 3",
    ]


@pytest.mark.parametrize(
    ("train_error", "weight_decay", "status"),
    [(19.0, 0.1, "collapsed"), (19.0, 0.2, "finished"), (16.0, 0.1, "finished")],
)
def test_runs_are_judged_beside_softmax_of_the_same_setting(drawn, made, train_error, weight_decay, status):
    """Above 1.5 x 2 + 15 % it has not learned; another weight decay's softmax says nothing of it."""
    setting = {"dataset": {"name": "digits"}, "model": {"width": 1.0}}
    run = FINISHED | setting | {"schedule": {"weight_decay": weight_decay, "lam": {"kind": "power"}}}
    softmax = FINISHED | setting | {"schedule": {"weight_decay": 0.1}, "loss": {"name": "softmax"}}
    out = drawn(
        made("loss=softmax/seed=0", result=softmax | {"train_error": 2.0}),
        made("loss.m=4/seed=0", result=run | {"train_error": train_error}),
    )
    assert out.splitlines()[0].startswith("loss=softmax/seed=0: finished")
    assert out.splitlines()[1].startswith(f"loss.m=4/seed=0: {status}")


def test_it_says_and_draws_where_a_class_was_given_up(drawn, made, monkeypatch):
    lost, kept = made("lost/seed=0"), made("kept/seed=0", weight_norm=1.0, weight_norm_min=0.5)
    lines = [{"step": 50 * n, "loss": 1.0, "weight_norm": 1.0, "weight_norm_min": 1 / n} for n in range(1, 9)]
    (lost / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    standing = []
    monkeypatch.setattr("matplotlib.axes.Axes.axvline", lambda axes, step, **style: standing.append(step))
    said = drawn(lost, kept).splitlines()
    assert said[0] == "lost/seed=0: unfinished, 8 logged steps up to step 400, gives up a class from step 300 on"
    assert "gives up" not in said[1]
    assert standing == [300] * 8  # a line in each panel


def test_shares_are_drawn_in_percent_and_angles_from_the_fifth_to_the_ninety_fifth(drawn, made, monkeypatch):
    plot, fill = Axes.plot, Axes.fill_between
    lines, bands = [], []
    monkeypatch.setattr(Axes, "plot", lambda axes, x, y, **look: lines.append(y) or plot(axes, x, y, **look))
    monkeypatch.setattr(Axes, "fill_between", lambda axes, x, *y, **look: bands.append(y) or fill(axes, x, *y, **look))
    drawn(made("a/seed=0", lines=2, wins=0.75, target_angle_q05=10.0, target_angle_q95=80.0))
    assert [75.0, 75.0] in lines and bands[0] == ([10.0, 10.0], [80.0, 80.0])


def test_a_single_run_is_named_with_its_options(drawn, made):
    assert drawn(made("loss.m=4/seed=3")).startswith("loss.m=4/seed=3: ")


def test_a_run_that_died_before_its_first_logged_step_is_on_the_page(drawn, made):
    assert "diverged at step 1,234" in drawn(made("dead", lines=0, result=DIVERGED), made("alive"))


@pytest.mark.parametrize("lam", [None, 0.0, "inf"])
def test_any_lambda_can_be_drawn(drawn, made, lam):
    drawn(made("run", lam=lam))


def test_a_torn_last_line_is_left_out(drawn, made):
    folder = made("run", lines=5)
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 6, "lo')
    assert "up to step 5" in drawn(folder)


def test_equal_curves_give_equal_files(drawn, made, tmp_path):
    folder, pictures = made("run", result=FINISHED), []
    for _ in range(2):
        drawn(folder)
        pictures.append((tmp_path / "page" / "curves.svg").read_bytes())
    assert pictures[0] == pictures[1]


def test_the_ending_of_out_is_free(script, made, tmp_path):
    folder = made("run")
    for name in ("loss.m=4", "b.svg"):
        assert script("plot_run", str(folder), f"out={tmp_path / name}").code == 0
    pictures = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert pictures == {"loss.m=4.png", "loss.m=4.svg", "b.png", "b.svg"}


def test_a_curve_is_what_the_lines_say():
    lines = [{"step": 3, "lam": 2.0}, {"step": 6, "lam": None}, {"step": 9, "lam": "inf"}, {"step": 12}]
    steps, values = module.Run(None, "finished", lines, []).curve("lam")
    assert steps == [3, 9] and values[0] == 2.0 and math.isnan(values[1])


def test_run_may_be_said(script, made, tmp_path):
    run = made("a/seed=0")
    said = [script("plot_run", option, f"out={tmp_path / 'curves.png'}") for option in (str(run), f"run={run}")]
    assert said[0] == said[1] and said[0].code == 0


def test_without_matplotlib_it_is_one_line(script, made, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = script("plot_run", str(made("a/seed=0")), f"out={tmp_path / 'curves.png'}")
    assert (said.code, said.err) == (2, "error: nothing was drawn: matplotlib is missing (pip install matplotlib)\n")


def test_a_folder_that_is_no_run_is_one_line(script, tmp_path):
    said = script("plot_run", str(tmp_path), f"out={tmp_path / 'c.png'}")
    assert said.code == 2 and said.err == f"error: there is no run in {tmp_path}: metrics.jsonl is missing\n"


def test_a_run_without_a_logged_step_is_one_line(script, made, tmp_path):
    said = script("plot_run", str(made("run", lines=0)), f"out={tmp_path / 'c.png'}")
    assert said.code == 2 and said.out == "runs/run: unfinished\n"
    assert said.err == "error: none of these runs has logged a step: there is nothing to draw\n"


def test_a_damaged_result_is_one_line(script, made, tmp_path):
    folder = made("run")
    (folder / "result.json").write_text("{")
    said = script("plot_run", str(folder), f"out={tmp_path / 'c.png'}")
    assert (
        said.code == 2
        and said.err.startswith(f"error: the run in {folder} cannot be read")
        and said.err.count("\n") == 1
    )


def test_without_a_name_for_the_picture_it_says_what_it_takes(script, made):
    said = script("plot_run", str(made("run")), "out=")
    assert (said.code, said.err) == (2, "error: out must be a file FILE.png, got ''\n")


def test_without_a_run_it_says_how_to_call_it(script):
    said = script("plot_run")
    assert said.code == 2 and said.err.startswith("error: which run? ")


def test_a_place_that_cannot_be_written_is_one_line(script, made, tmp_path):
    (tmp_path / "file").touch()
    said = script("plot_run", str(made("run")), f"out={tmp_path / 'file' / 'c.png'}")
    assert said.code == 2 and said.err.startswith("error: cannot write ")
