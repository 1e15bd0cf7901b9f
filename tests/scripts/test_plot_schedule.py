"""scripts/plot_schedule.py: lr and lambda drawn together, and where they meet."""

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_it_draws_a_picture(script, tmp_path):
    out = tmp_path / "folder" / "schedule.png"
    assert script("plot_schedule", "dataset=mnist", f"out={out}").code == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_it_tells_the_rate_where_lambda_passes_one(script, tmp_path):
    # The released CIFAR10 lambda is 1 at step 8,296, where Section 5.1's rate is still 0.1.
    said = script("plot_schedule", "schedule=cifar10_paper", f"out={tmp_path / 's.png'}")
    assert "lambda < 1    from step 8,295 on, where the learning rate is 0.1" in said.out


def test_a_floor_is_never_passed(script, tmp_path):
    said = script("plot_schedule", "dataset=cifar100", f"out={tmp_path / 's.png'}")
    assert "lambda < 1    never" in said.out and "lambda at the end 5" in said.out


def test_a_lambda_that_stays_at_a_level_has_not_passed_it(script, tmp_path):
    said = script("plot_schedule", "schedule.lam.kind=constant", "schedule.lam.base=10", f"out={tmp_path / 's.png'}")
    assert "lambda < 10   never" in said.out


def test_lambda_zero_can_be_drawn(script, tmp_path):
    assert script("plot_schedule", "schedule.lam.base=0", f"out={tmp_path / 's.png'}").code == 0


def test_a_wrong_option_is_one_line(script, tmp_path):
    said = script("plot_schedule", "schedule.lr.base=-1", f"out={tmp_path / 's.png'}")
    assert said.code == 2 and said.err == "error: schedule.lr.base must be a number > 0, got -1\n"
    assert not (tmp_path / "s.png").exists()


@pytest.mark.parametrize(
    ("loss", "takes"), [("asoftmax", True), ("cosface", False), ("arcface", False), ("softmax", False)]
)
def test_it_says_which_loss_takes_no_notice_of_lambda(script, tmp_path, loss, takes):
    said = script("plot_schedule", f"loss={loss}", f"out={tmp_path / 's.png'}")
    assert said.code == 0 and (f"loss={loss} takes no notice of lambda" in said.out) != takes


@pytest.mark.parametrize("name", ["s", "s.tiffany"])
def test_a_name_without_the_ending_of_a_picture_is_one_line(script, tmp_path, name):
    said = script("plot_schedule", f"out={tmp_path / name}")
    assert said.code == 2 and "must end in .png, .svg" in said.err and list(tmp_path.iterdir()) == []


def test_an_adaptive_lambda_has_no_curve_before_the_run(script, tmp_path):
    said = script("plot_schedule", "schedule.lam.kind=adaptive", f"out={tmp_path / 's.png'}")
    assert said.code == 2 and "schedule.lam.kind=adaptive" in said.err and "plot_run.py" in said.err


def test_a_rate_by_plateau_has_no_curve_before_the_run(script, tmp_path):
    said = script("plot_schedule", "schedule.lr.kind=plateau", "dataset.validation=9", f"out={tmp_path / 's.png'}")
    assert said.code == 2 and "schedule.lr.kind=plateau" in said.err and "plot_run.py" in said.err
