"""AdaptiveLambda against a definition in plain Python, at its extremes, stopped and gone on with."""

import math

import pytest
import torch

from lsoftmax import AdaptiveLambda, LSoftmaxLinear, required_lambda


def defined(batches, accuracy=0.7, initial=1000.0, rate=0.02, minimum=0.0, maximum=1000.0, delay=0):
    """Lambda at the beginning and after each batch (lists of numbers), in float64, from the definition."""
    average, lambdas = math.log(initial + 0.01), [initial]
    for number, batch in enumerate(batches):
        if number < delay:
            lambdas.append(initial)
            continue
        ordered = sorted(min(max(value, minimum), maximum) for value in batch)
        # the least value that a share `accuracy` of the samples does not exceed
        quantile = next(v for v in ordered if sum(w <= v for w in ordered) >= accuracy * len(ordered) - 1e-9)
        average = (1 - rate) * average + rate * math.log(quantile + 0.01)
        lambdas.append(min(max(math.exp(average) - 0.01, minimum), maximum))
    return lambdas


def followed(batches, **options):
    controller = AdaptiveLambda(**options)
    lambdas = [controller.lam.item()]
    for batch in batches:
        controller.update(torch.tensor(batch))
        lambdas.append(controller.lam.item())
    return lambdas


def some_batches(count=60, size=20):
    needs = 10 ** (4 * torch.rand(count, size, dtype=torch.float64) - 1)
    needs[torch.rand(count, size) < 0.2] = 0
    needs[torch.rand(count, size) < 0.1] = math.inf
    return needs.tolist()


OPTIONS = [
    {},
    {"delay": 1},
    {"delay": 25, "minimum": 1.0},
    {"delay": 100},
    {"accuracy": 0.5, "rate": 0.3},
    {"accuracy": 1.0, "rate": 0.1},
    {"accuracy": 0.01, "initial": 5.0},
    {"initial": 50.0, "minimum": 2.0, "maximum": 50.0, "rate": 0.5},
    {"initial": 0.0, "rate": 1.0, "accuracy": 0.4},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_is_the_moving_average_of_the_quantile(options):
    batches = some_batches()
    # float32 batches: quantiles are rounded to 1e-7
    assert followed(batches, **options) == pytest.approx(defined(batches, **options), rel=1e-5, abs=1e-8)


def test_float64_batches_are_followed_to_the_last_digits():
    batches, controller = some_batches(), AdaptiveLambda(rate=0.2)
    for batch in batches:
        controller.update(torch.tensor(batch, dtype=torch.float64))
    assert controller.lam.item() == pytest.approx(defined(batches, rate=0.2)[-1], rel=1e-12)


@pytest.mark.parametrize(
    ("accuracy", "quantile"), [(0.05, 1), (0.1, 1), (0.11, 2), (0.3, 3), (0.7, 7), (0.71, 8), (0.95, 10), (1.0, 10)]
)
def test_the_quantile_is_a_value_of_the_batch(accuracy, quantile):
    controller = AdaptiveLambda(accuracy=accuracy, rate=1.0)
    controller.update(torch.randperm(10) + 1.0)
    assert controller.lam.item() == pytest.approx(quantile)


@pytest.mark.parametrize("size", range(1, 130, 7))
def test_at_least_the_share_asked_for_needs_no_more(size):
    required, controller = torch.arange(float(size)), AdaptiveLambda(accuracy=0.7, rate=1.0)
    controller.update(required)
    below = (required <= controller.lam + 1e-9).sum().item()
    assert 0.7 * size - 1e-9 <= below < 0.7 * size + 1


def test_rounding_does_not_push_the_rank_up():
    controller = AdaptiveLambda(accuracy=0.07, rate=1.0)  # 0.07 * 100 > 7 in floats
    controller.update(torch.arange(100.0))
    assert controller.lam.item() == pytest.approx(6)


def test_one_sample_is_its_own_quantile():
    assert followed([[3.0]], rate=1.0)[-1] == pytest.approx(3)


def test_it_begins_at_initial():
    assert AdaptiveLambda(initial=5).lam.item() == pytest.approx(5, rel=1e-12)


def test_where_all_win_it_falls_to_nothing_and_never_below():
    lambdas = followed([[0.0] * 5] * 3000)
    assert all(a >= b >= 0 for a, b in zip(lambdas, lambdas[1:], strict=False)) and lambdas[-1] < 1e-9


def test_where_all_lose_it_rises_to_the_maximum():
    assert followed([[math.inf] * 5] * 2000, initial=1.0)[-1] == pytest.approx(1000)


@pytest.mark.parametrize("value", [math.inf, math.nan, 1e30, 0.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_lambda_is_finite_whatever_the_batch(value, dtype):
    controller = AdaptiveLambda(rate=1.0)
    controller.update(torch.full((4,), value, dtype=torch.float64).to(dtype))
    assert 0 <= controller.lam.item() <= 1000


def test_nan_counts_as_infinity():
    assert followed([[math.nan, 1.0, 2.0, 3.0]], accuracy=0.75, rate=1.0)[-1] == pytest.approx(3)
    assert followed([[math.nan, 1.0, 2.0, 3.0]], accuracy=0.76, rate=1.0)[-1] == pytest.approx(1000)


# --- the guard: mean norm 1 throughout


def test_while_no_class_shrinks_a_guard_changes_nothing():
    batches, norms = some_batches(), torch.tensor([0.5, 1.0, 1.5])
    guarded = AdaptiveLambda(guard=0.5)  # 0.5 is not below
    for batch in batches:
        guarded.update(torch.tensor(batch), class_norms=norms)
    assert guarded.lam.item() == followed(batches)[-1]


def test_while_a_class_shrinks_lambda_rises_as_where_no_sample_is_right():
    guarded, lost = (AdaptiveLambda(initial=1.0, guard=0.5) for _ in range(2))
    for _ in range(100):
        before, norms = guarded.lam.item(), torch.tensor([0.49, 1.0, 1.51])
        guarded.update(torch.zeros(4), class_norms=norms)
        lost.update(torch.full((4,), math.inf), class_norms=torch.ones(3))
        assert guarded.lam.item() == lost.lam.item() > before
    before = guarded.lam.item()
    guarded.update(torch.zeros(4), class_norms=torch.ones(3))  # the class has recovered
    assert guarded.lam.item() < before


def test_a_guard_waits_for_the_delay_too():
    controller = AdaptiveLambda(initial=5.0, delay=2, guard=0.5)
    for _ in range(2):
        controller.update(torch.zeros(4), class_norms=torch.tensor([0.1, 1.0, 1.9]))
    assert controller.lam.item() == pytest.approx(5)


def test_lambda_stays_between_minimum_and_maximum():
    lambdas = followed([[0.0], [1e9]] * 3, initial=4.0, minimum=2.0, maximum=8.0, rate=1.0)
    assert lambdas == pytest.approx([4, 2, 8, 2, 8, 2, 8]) and min(lambdas) >= 2 and max(lambdas) <= 8


def test_a_raised_minimum_holds_at_once_and_for_the_average():
    controller = AdaptiveLambda(initial=1.0, rate=1.0)
    controller.minimum = 5.0
    assert controller.lam.item() == 5
    controller.update(torch.zeros(3))
    controller.minimum = 0.0
    assert controller.lam.item() == pytest.approx(5)


def test_a_minimum_above_the_maximum_takes_it_along():
    controller = AdaptiveLambda()
    controller.minimum = 4000.0
    assert controller.lam.item() == 4000


def test_skip_leaves_lambda_to_the_bit():
    controller = AdaptiveLambda()
    controller.update(torch.ones(4))
    before = controller.lam
    controller.update(torch.zeros(4), skip=torch.tensor(1.0))
    assert torch.equal(controller.lam, before)
    controller.update(torch.zeros(4), skip=torch.tensor(0.0))
    assert controller.lam < before


def test_a_lambda_taken_before_an_update_does_not_move_with_it():
    controller = AdaptiveLambda()
    before = controller.lam
    controller.update(torch.zeros(4))
    assert before.item() == pytest.approx(1000)


def test_lambda_is_a_0_dim_float64_tensor_that_a_head_takes():
    controller, head = AdaptiveLambda(initial=3.5), LSoftmaxLinear(3, 2)
    head.lam = controller.lam
    assert (controller.lam.ndim, controller.lam.dtype, head.lam.item()) == (0, torch.float64, pytest.approx(3.5))


# --- resume


@pytest.mark.parametrize("moment", [0, 1, 30, 59])
def test_a_controller_goes_on_to_the_same_bits(moment, tmp_path):
    batches = [torch.tensor(batch) for batch in some_batches()]
    whole, first, second = (AdaptiveLambda(delay=29) for _ in range(3))
    for batch in batches:
        whole.update(batch)
    for batch in batches[:moment]:
        first.update(batch)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for batch in batches[moment:]:
        second.update(batch)
    assert torch.equal(second.lam, whole.lam)


def test_a_saved_state_does_not_move_with_the_controller():
    controller = AdaptiveLambda()
    state = controller.state_dict()
    controller.update(torch.zeros(3))
    controller.load_state_dict(state)
    controller.update(torch.zeros(3))
    assert state["log_lambda"].item() == pytest.approx(math.log(1000.01))


def test_a_saved_state_does_not_move_with_a_controller_that_stays_in_its_memory():
    controller = AdaptiveLambda()
    state, held = controller.state_dict(), controller.tensors
    controller.update(torch.zeros(3))
    controller.move_into(held)
    assert state["log_lambda"].item() == pytest.approx(math.log(1000.01)) and state["updates"] == 0


def test_a_state_of_float32_goes_on_in_float64():
    controller = AdaptiveLambda()
    controller.load_state_dict({key: value.float() for key, value in controller.state_dict().items()})
    assert controller.lam.dtype == torch.float64 and controller.state_dict()["updates"].dtype == torch.int64


@pytest.mark.parametrize("value", [torch.ones(2), torch.tensor(math.nan), torch.tensor(math.inf)])
def test_a_damaged_state_is_refused(value):
    with pytest.raises(ValueError, match="^log_lambda must be one finite number"):
        AdaptiveLambda().load_state_dict({"log_lambda": value, "updates": torch.tensor(0)})


@pytest.mark.parametrize("state", [{"log_lambda": 1.0, "updates": 3}, {"log_lambda": torch.ones(()), "updates": 3}])
def test_a_state_of_bare_numbers_is_refused(state):
    with pytest.raises(ValueError, match="^log_lambda and updates must be tensors, got "):
        AdaptiveLambda().load_state_dict(state)


# --- wrong arguments


@pytest.mark.parametrize("value", [-1, 1.0, True, "1", None])
def test_a_delay_that_is_no_count_is_named(value):
    with pytest.raises(ValueError, match="^delay must be an integer >= 0, got "):
        AdaptiveLambda(delay=value)


@pytest.mark.parametrize("value", [1, 1.0, 1.5, -0.1, math.nan, math.inf, True, "0.5", None])
def test_a_guard_out_of_range_is_named(value):
    with pytest.raises(ValueError, match=r"^guard must be a number in \[0, 1\), got "):
        AdaptiveLambda(guard=value)


@pytest.mark.parametrize("norms", [None, torch.ones(()), torch.ones(0), torch.ones(2, 3)], ids=str)
def test_a_guard_without_norms_is_refused(norms):
    with pytest.raises(ValueError, match=r"^guard=0.5 needs class_norms \(C,\)"):
        AdaptiveLambda(guard=0.5).update(torch.zeros(3), class_norms=norms)


@pytest.mark.parametrize("name", ["accuracy", "rate"])
@pytest.mark.parametrize("value", [0, 0.0, -0.1, 1.01, math.nan, math.inf, True, "0.7", None])
def test_a_share_out_of_range_is_named(name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be a number in \(0, 1\], got "):
        AdaptiveLambda(**{name: value})


@pytest.mark.parametrize("name", ["minimum", "maximum", "initial"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, True, "5"])
def test_a_bound_out_of_range_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be a finite number >= 0, got "):
        AdaptiveLambda(**{name: value})


@pytest.mark.parametrize("options", [{"initial": 2000.0}, {"initial": 1.0, "minimum": 2.0}, {"maximum": 10.0}])
def test_an_initial_outside_its_bounds_is_named(options):
    with pytest.raises(ValueError, match="^initial must lie between minimum"):
        AdaptiveLambda(**options)


@pytest.mark.parametrize("shape", [(), (0,), (3, 1)])
def test_what_is_no_batch_is_refused(shape):
    with pytest.raises(ValueError, match="^required must be"):
        AdaptiveLambda().update(torch.zeros(shape))


def test_a_minimum_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="^minimum must be a finite number"):
        AdaptiveLambda().minimum = math.inf


# --- how it is executed


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("guard", [0.0, 0.9])
def test_it_traces_into_one_graph_and_does_not_recompile(batch, guard):
    features, weight, labels = (t.detach() for t in batch(n=30, dtype=torch.float32))
    eager, traced = AdaptiveLambda(guard=guard), AdaptiveLambda(guard=guard)

    def follow(controller, features, weight, labels):
        controller.update(required_lambda(features, weight, labels, m=4), class_norms=weight.norm(dim=1))
        return controller.lam

    torch.compiler.reset()
    compiled = torch.compile(follow, fullgraph=True, backend="aot_eager")
    compiled(traced, features, weight, labels)
    follow(eager, features, weight, labels)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for scale in (0.5, 2.0):
            lam = compiled(traced, features * scale, weight, labels)
            assert lam.item() == pytest.approx(follow(eager, features * scale, weight, labels).item(), rel=1e-6)
    torch.compiler.reset()


def test_nothing_waits_for_the_device(monkeypatch):
    controller, head = AdaptiveLambda(guard=0.5), LSoftmaxLinear(3, 2)
    required, norms = torch.tensor([0.0, 3.0, math.inf]), torch.ones(2)
    monkeypatch.setattr("lsoftmax.checks._can_be_read", lambda _: False)  # as on a device
    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, lambda *_, name=name: pytest.fail(f"{name} waits for the device"))
    for _ in range(3):
        head.lam = controller.lam
        controller.update(required, class_norms=norms, skip=torch.zeros(()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_nothing_waits_for_the_gpu(never_waits):
    controller, head = AdaptiveLambda(guard=0.5).to("cuda"), LSoftmaxLinear(16, 10).to("cuda")
    features, labels = torch.randn(32, 16, device="cuda"), torch.randint(10, (32,), device="cuda")
    with never_waits():
        for _ in range(3):
            head.lam = controller.lam
            required = required_lambda(features, head.weight, labels, m=4)
            norms = head.weight.detach().norm(dim=1)
            controller.update(required, class_norms=norms, skip=torch.zeros((), device="cuda"))
