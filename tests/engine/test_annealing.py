"""The adaptive lambda of a run: when it follows, what is logged, how it comes back. Runs as in test_resume."""

import contextlib
import math

import pytest
import torch

from lsoftmax import AdaptiveLambda
from lsoftmax.engine import checkpoint
from lsoftmax.engine.device import set_determinism
from lsoftmax.engine.divergence import Diverged
from lsoftmax.engine.signals import Interrupted
from lsoftmax.losses.lsoftmax import LSoftmax

MOMENTS = range(18)  # as in test_resume


def adaptive(tools, folder, initial=10.0, **changes):
    """A trainer whose lambda moves far within a dozen steps."""
    return tools.trainer(folder, lam=AdaptiveLambda(accuracy=0.6, initial=initial, rate=0.3), **changes)


def go_on(tools, folder, **changes):
    return tools.go_on(folder, lam=AdaptiveLambda(accuracy=0.6, initial=10.0, rate=0.3), **changes)


@pytest.fixture(scope="module")
def uninterrupted(tools, tmp_path_factory):
    return tools.outcome(tools.go(adaptive(tools, tmp_path_factory.mktemp("whole"))))


@pytest.fixture
def lambdas_of_forward(monkeypatch):
    """The lambda of every forward pass, as the loss sees it."""
    seen, forward = [], LSoftmax.forward

    def watched(self, features, labels):
        seen.append(float(self.lam))
        return forward(self, features, labels)

    monkeypatch.setattr(LSoftmax, "forward", watched)
    return seen


# --- following


def test_it_follows_every_step_with_that_steps_features_and_weights(tools, tmp_path, monkeypatch, lambdas_of_forward):
    trainer, required, gradients = adaptive(tools, tmp_path), [], []
    features = []
    trainer.backbone.register_forward_hook(lambda *hook: features.append(hook[2].detach().clone()))
    weights, original = [], LSoftmax.required_lambda

    def watched(self, given, labels):
        assert torch.equal(given, features[-1])
        weights.append(self.weight.detach().clone())
        gradients.append(given.requires_grad)
        required.append(original(self, given, labels))
        return required[-1]

    monkeypatch.setattr(LSoftmax, "required_lambda", watched)
    before = []
    trainer.optimizer.register_step_pre_hook(lambda *_: before.append(trainer.criterion.weight.detach().clone()))
    for _ in range(6):
        trainer._step()
    assert all(torch.equal(a, b) for a, b in zip(weights, before, strict=True)) and not any(gradients)
    reference, expected = AdaptiveLambda(accuracy=0.6, initial=10.0, rate=0.3), []
    for batch in required:
        expected.append(float(reference.lam))
        reference.update(batch)
    assert lambdas_of_forward == expected and len(set(expected)) == 6


def test_the_logged_lambda_is_the_one_the_step_was_done_with(tools, tmp_path, lambdas_of_forward):
    tools.go(adaptive(tools, tmp_path, log_every=1))
    logged = [line["lam"] for line in tools.lines(tmp_path)]
    assert logged == pytest.approx(lambdas_of_forward, rel=1e-7) and len(logged) == 12  # float32 of float64


def test_the_line_of_a_logged_step_has_the_keys_of_other_runs_in_their_order(tools, tmp_path):
    tools.go(adaptive(tools, tmp_path / "adaptive"))
    tools.go(tools.trainer(tmp_path / "power"))
    first, second = (tools.lines(tmp_path / name)[0] for name in ("adaptive", "power"))
    assert list(first) == list(second)


@pytest.mark.parametrize("loss", ["softmax", "cosface"])
def test_a_loss_without_lambda_takes_no_notice(tools, tmp_path, loss):
    trainer = tools.go(adaptive(tools, tmp_path / "a", loss=loss))
    plain = tools.go(tools.trainer(tmp_path / "b", loss=loss))
    tools.check_same(tools.outcome(trainer), tools.outcome(plain))
    assert {line["lam"] for line in tools.lines(tmp_path / "a")} == {None}


def test_the_minimum_of_the_plan_holds_where_there_is_no_floor(tools, tmp_path):
    tools.go(tools.trainer(tmp_path, lam=AdaptiveLambda(accuracy=0.01, initial=10.0, rate=1.0, minimum=9.5)))
    assert min(line["lam"] for line in tools.lines(tmp_path)) == 9.5


def test_asoftmax_follows_too(tools, tmp_path):
    tools.go(adaptive(tools, tmp_path, loss="asoftmax"))
    logged = [line["lam"] for line in tools.lines(tmp_path)]
    assert len(set(logged)) == len(logged) == 8 and all(math.isfinite(lam) for lam in logged)


# A-Softmax's class weights have length 1, whatever is stored.
@pytest.mark.parametrize(("loss", "acts"), [("lsoftmax", True), ("asoftmax", False)])
def test_a_guard_looks_at_the_class_weights_of_the_step(tools, tmp_path, loss, acts):
    def run(folder, guard):
        lam = AdaptiveLambda(accuracy=0.01, initial=1.0, rate=0.3, guard=guard)
        trainer = tools.trainer(folder, lam=lam, loss=loss)
        with torch.no_grad():
            trainer.criterion.weight[0] *= 1e-3
        tools.go(trainer)
        return [line["lam"] for line in tools.lines(folder)]

    plain, guarded = run(tmp_path / "plain", 0.0), run(tmp_path / "guarded", 0.9)
    assert plain[-1] < 1
    assert guarded[-1] > 100 if acts else guarded == plain


# --- how it is executed


def test_bf16_follows_and_stays_finite(tools, tmp_path):
    trainer = tools.go(adaptive(tools, tmp_path, precision="bf16"))
    assert trainer.progress.step == 12 and trainer.annealing.controller.lam.dtype == torch.float64


def test_steps_between_logged_ones_ask_nothing_of_the_device(tools, tmp_path, monkeypatch):
    trainer = adaptive(tools, tmp_path, log_every=100, eval_every=100, checkpoint_every=100)
    trainer._step()
    monkeypatch.setattr("lsoftmax.checks._can_be_read", lambda _: False)  # as on a device
    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, lambda *_, name=name: pytest.fail(f"{name} waits for the device"))
    for _ in range(5):
        trainer._step()


def test_a_logged_step_fetches_all_its_numbers_at_once(tools, tmp_path, monkeypatch):
    trainer, calls = adaptive(tools, tmp_path, log_every=1), []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr("lsoftmax.checks._can_be_read", lambda _: False)
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: calls.append(1) or tolist(self))
    for name in ("item", "__float__"):
        monkeypatch.setattr(torch.Tensor, name, lambda self: pytest.fail("one number alone"))
    trainer._step()
    assert len(calls) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("margin_on", ["all", "winners"])
@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_steps_between_logged_ones_never_wait_for_the_gpu(
    tools, tmp_path, precision, deterministic, margin_on, never_waits
):
    set_determinism(deterministic)
    never = {"log_every": 100, "eval_every": 100, "checkpoint_every": 100}
    trainer = adaptive(tools, tmp_path, device="cuda", precision=precision, **never)
    trainer.criterion.margin_on = margin_on
    batches = [trainer.loader.batch(step) for step in range(8)]
    trainer.loader.batch = batches.__getitem__
    trainer._step()
    with never_waits():
        for _ in range(5):
            trainer._step()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("moment", [4, 9])
def test_a_killed_run_goes_on_to_the_same_bits_on_the_gpu(tools, tmp_path, moment):
    set_determinism(True)
    whole = tools.outcome(tools.go(adaptive(tools, tmp_path / "whole", device="cuda")))
    with pytest.raises(tools.Killed):
        tools.go(adaptive(tools, tmp_path / "killed", device="cuda"), tools.StopAt(moment, tools.Killed()))
    tools.check_same(tools.outcome(go_on(tools, tmp_path / "killed", device="cuda")), whole)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_run_follows_the_same_lambda(tools, tmp_path):
    runs = [adaptive(tools, tmp_path / str(on), compile=on, steps=3) for on in (False, True)]
    for trainer in runs:
        trainer.backbone[3].p = 0.0  # the compiler draws other random numbers
        tools.go(trainer)
    plain, compiled = (trainer.annealing.controller.lam for trainer in runs)
    torch.testing.assert_close(plain, compiled, rtol=1e-4, atol=0)


# --- resume


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("error", [Interrupted(15), "killed"], ids=["stopped", "killed"])
def test_a_run_goes_on_to_the_same_bits(tools, tmp_path, uninterrupted, moment, error):
    error = tools.Killed() if error == "killed" else error
    with pytest.raises((Interrupted, tools.Killed)):
        tools.go(adaptive(tools, tmp_path), tools.StopAt(moment, error))
    trainer = go_on(tools, tmp_path)
    tools.check_same(tools.outcome(trainer), uninterrupted)


def test_bf16_resumes_to_the_same_bits(tools, tmp_path):
    whole = tools.outcome(tools.go(adaptive(tools, tmp_path / "whole", precision="bf16")))
    with pytest.raises(tools.Killed):
        tools.go(adaptive(tools, tmp_path / "killed", precision="bf16"), tools.StopAt(9, tools.Killed()))
    tools.check_same(tools.outcome(go_on(tools, tmp_path / "killed", precision="bf16")), whole)


def test_a_guarded_run_goes_on_to_the_same_bits(tools, tmp_path):
    def guarded():
        return AdaptiveLambda(accuracy=0.6, initial=10.0, rate=0.3, guard=0.95)

    whole = tools.go(tools.trainer(tmp_path / "whole", lam=guarded()))
    plain = tools.go(adaptive(tools, tmp_path / "plain"))
    assert float(whole.annealing.controller.lam) > float(plain.annealing.controller.lam)  # the guard acted
    with pytest.raises(tools.Killed):
        tools.go(tools.trainer(tmp_path / "killed", lam=guarded()), tools.StopAt(9, tools.Killed()))
    tools.check_same(tools.outcome(tools.go_on(tmp_path / "killed", lam=guarded())), tools.outcome(whole))


def test_only_an_adaptive_run_keeps_a_controller_in_its_checkpoint(tools, tmp_path):
    tools.go(adaptive(tools, tmp_path / "a"))
    tools.go(tools.trainer(tmp_path / "b"))
    tools.go(adaptive(tools, tmp_path / "c", loss="softmax"))
    kept = ["controller" in checkpoint.load(tmp_path / name / "checkpoint.pt") for name in "abc"]
    assert kept == [True, False, False]


# --- divergence


def spoiled(tools, step):
    return tools.Batches(spoil=lambda now, images: images * math.nan if now == step else images)


def test_the_record_of_a_divergence_has_the_lambda_of_the_bad_step(tools, tmp_path, lambdas_of_forward):
    trainer = adaptive(tools, tmp_path, loader=spoiled(tools, 5), log_every=4, eval_every=100, checkpoint_every=100)
    with pytest.raises(Diverged) as caught:
        tools.go(trainer)
    divergence = caught.value.divergence
    assert trainer.progress.step == 8  # seen two steps later
    assert divergence["step"] == 5 and divergence["lam"] == lambdas_of_forward[5] != lambdas_of_forward[4]


LIMIT = 6.0  # the loss is nan below it, which is where lambda comes after its eighth step


def raising(tools, folder, **changes):
    options = {"loss": tools.fragile(LIMIT), "on_divergence": "raise_lambda"}
    return adaptive(tools, folder, **options | changes)


def test_after_a_divergence_lambda_stays_above_a_higher_floor(tools, tmp_path):
    trainer = tools.go(raising(tools, tmp_path))
    [divergence] = trainer.progress.divergences
    floor = trainer.progress.lambda_floor
    assert divergence["lam"] < LIMIT < floor == divergence["floor"] == 2 * divergence["lam"]
    assert trainer.annealing.controller.minimum == floor
    assert all(line["lam"] >= floor * (1 - 1e-6) for line in tools.lines(tmp_path) if line["step"] > divergence["step"])
    assert trainer.progress.step == 12


def test_the_controller_returns_with_the_weights(tools, tmp_path, monkeypatch):
    trainer, states = raising(tools, tmp_path), []
    load = AdaptiveLambda.load_state_dict
    monkeypatch.setattr(AdaptiveLambda, "load_state_dict", lambda self, s: states.append(s) or load(self, s))
    tools.go(trainer)
    assert len(states) == 1 and states[0]["log_lambda"] > math.log(LIMIT)


@pytest.mark.parametrize("moment", range(0, 21, 3))
def test_a_killed_run_returns_to_the_same_bits(tools, tmp_path, moment):
    whole = tools.outcome(tools.go(raising(tools, tmp_path / "whole")))
    with contextlib.suppress(tools.Killed):
        tools.go(raising(tools, tmp_path / "killed"), tools.StopAt(moment, tools.Killed()))
    trainer = go_on(tools, tmp_path / "killed", loss=tools.fragile(LIMIT), on_divergence="raise_lambda")
    tools.check_same(tools.outcome(trainer), whole)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_killed_compiled_run_goes_on_to_the_same_bits(tools, tmp_path, precision):
    options = {"compile": True, "precision": precision}
    whole = tools.outcome(tools.go(adaptive(tools, tmp_path / "whole", **options)))
    with pytest.raises(tools.Killed):
        tools.go(adaptive(tools, tmp_path / "killed", **options), tools.StopAt(7, tools.Killed()))
    tools.check_same(tools.outcome(go_on(tools, tmp_path / "killed", **options)), whole)
