"""The named schedules against Section 5.1 and the authors' solvers; read at single steps, as the trainer does."""

from functools import cache

import pytest

from assemble import make_plan
from configs import compose
from lsoftmax.engine.plan import Plan

PAPER = ("mnist_paper", "cifar10_paper", "cifar10+_paper", "cifar100_paper")
CAFFE = ("mnist_caffe", "cifar10_caffe", "cifar10+_caffe")


@cache
def plan(schedule: str) -> Plan:
    return make_plan(compose([f"schedule={schedule}"]))


@pytest.mark.parametrize("name", PAPER)
def test_a_paper_schedule_has_18k_steps_of_256(name: str) -> None:
    assert (plan(name).steps, plan(name).batch_size) == (18_000, 256)


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_rate_falls_by_10_at_12k_and_15k(name: str) -> None:
    rates = [plan(name).lr(step) for step in (0, 11_999, 12_000, 14_999, 15_000, 17_999)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize("name", [*PAPER, *CAFFE, "mnist5k"])
def test_every_schedule_has_the_papers_momentum_and_decay(name: str) -> None:
    schedule = plan(name)
    assert (schedule.momentum, schedule.weight_decay) == (0.9, 0.0005)
    assert (schedule.classifier_lr_factor, schedule.classifier_weight_decay) == (1.0, None)


@pytest.mark.parametrize("name", CAFFE)
def test_a_caffe_schedule_has_30k_steps_of_128(name: str) -> None:
    assert (plan(name).steps, plan(name).batch_size) == (30_000, 128)


@pytest.mark.parametrize(
    ("name", "drops"),
    [("mnist_caffe", [5_000, 7_500, 10_000]), ("cifar10_caffe", [5_000, 7_500]), ("cifar10+_caffe", [8_000, 12_000])],
)
def test_the_caffe_rate_falls_by_10_at_its_own_steps(name: str, drops: list[int]) -> None:
    lr = plan(name).lr
    assert lr(0) == pytest.approx(0.1)
    assert [lr(step) / lr(step - 1) for step in drops] == pytest.approx([0.1] * len(drops))
    assert lr(29_999) == pytest.approx(0.1 * 0.1 ** len(drops))


# name, iterations at which lambda passes 10, 1 and 0.1 (iteration 1 is step 0)
CROSSINGS = [
    ("mnist_caffe", (5_625, 8_728, 12_041)),
    ("mnist_paper", (5_625, 8_728, 12_041)),
    ("cifar10_caffe", (5_388, 8_296, 11_356)),
    ("cifar10_paper", (5_388, 8_296, 11_356)),
    ("cifar10+_caffe", (10_776, 16_591, 22_713)),
]


@pytest.mark.parametrize(("name", "iterations"), CROSSINGS)
def test_lambda_passes_10_and_1_and_a_tenth_where_the_authors_does(name: str, iterations: tuple[int, ...]) -> None:
    lam = plan(name).lam
    for iteration, value in zip(iterations, (10, 1, 0.1), strict=True):
        assert lam(iteration - 3) > value > lam(iteration + 1)  # the table is rounded to an iteration


@pytest.mark.parametrize(
    ("name", "last"), [("mnist_caffe", 3.12e-6), ("cifar10_caffe", 6.53e-7), ("cifar10+_caffe", 7.46e-3)]
)
def test_a_caffe_lambda_ends_where_the_authors_does(name: str, last: float) -> None:
    assert plan(name).lam(29_999) == pytest.approx(last, rel=2e-3)  # three digits are given


@pytest.mark.parametrize(
    ("name", "last"), [("mnist_paper", 2.25e-3), ("cifar10_paper", 9.79e-4), ("cifar10+_paper", 7.46e-3)]
)
def test_a_paper_lambda_ends_where_the_document_says(name: str, last: float) -> None:
    assert plan(name).lam(17_999) == pytest.approx(last, rel=2e-3)


def test_the_lambda_of_cifar10_plus_is_the_released_curve_over_a_shorter_run() -> None:
    paper, caffe = plan("cifar10+_paper").lam, plan("cifar10+_caffe").lam
    for step in (2, 5_999, 17_999):
        assert paper(step) == pytest.approx(caffe((step + 1) * 5 // 3 - 1), rel=1e-4)


def test_the_lambda_of_cifar100_is_that_of_cifar10_with_a_floor_of_5() -> None:
    cifar10, cifar100 = plan("cifar10_paper").lam, plan("cifar100_paper").lam
    assert [cifar100(step) for step in (0, 4_000, 8_000, 17_999)] == [
        max(5.0, cifar10(step)) for step in (0, 4_000, 8_000, 17_999)
    ]


@pytest.mark.parametrize("name", ["mnist", "cifar100"])
def test_a_data_set_runs_the_papers_schedule_until_a_better_one_is_known(name: str) -> None:
    assert compose([f"dataset={name}"]) == compose([f"dataset={name}", f"schedule={name}_paper"])


BETTER = {"cifar10": ["schedule.lam.guard=0.5"], "cifar10+": ["schedule.lam.accuracy=0.95"]}


@pytest.mark.parametrize("name", BETTER)
def test_of_the_papers_schedule_how_the_margin_is_put_alone_is_another(name: str) -> None:
    better = ["schedule.lam.kind=adaptive", "schedule.gradient=norms_live", "schedule.margin_on=winners", *BETTER[name]]
    assert compose([f"dataset={name}"]) == compose([f"dataset={name}", f"schedule={name}_paper", *better])


def test_the_default_lambda_ends_small_while_the_rate_is_high() -> None:
    default = plan("mnist5k")
    assert default.lam(0) > 900
    assert default.lam(300) < 0.1 and default.lr(300) == 0.1


# experiment: dataset, mean, augment, model, m (Section 5.1)
CAFFE_EXPERIMENTS = {
    "caffe_mnist": ("mnist", 127.5, "none", "caffe_mnist", 4),
    "caffe_cifar10": ("cifar10", "image", "mirror", "caffe_cifar10", 2),
    "caffe_cifar10+": ("cifar10+", "image", "crop_mirror", "caffe_cifar10", 2),
}


@pytest.mark.parametrize("name", CAFFE_EXPERIMENTS)
def test_a_caffe_experiment_is_the_released_example(name: str) -> None:
    settings = compose([f"experiment={name}"])
    dataset = settings.dataset
    found = (dataset.name, dataset.mean, dataset.augment, settings.model.name, settings.loss.m)
    assert found == CAFFE_EXPERIMENTS[name]
    assert settings.schedule == compose([f"schedule={name.removeprefix('caffe_')}_caffe"]).schedule


def test_the_cpu_experiment_keeps_the_papers_sum_of_rate_times_decay() -> None:
    def pull(plan: Plan) -> float:
        return sum(plan.lr(step) for step in range(plan.steps)) * plan.weight_decay

    assert pull(make_plan(compose(["experiment=cifar10_cpu"]))) == pytest.approx(pull(plan("cifar10_paper")), rel=0.01)
