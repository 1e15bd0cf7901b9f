"""One step: what is counted, what is asked of the device, and the ways of executing it."""

import pytest
import torch

from lsoftmax.losses import LOSSES
from lsoftmax.losses.lsoftmax import LSoftmax


@pytest.mark.parametrize("loss", LOSSES)
def test_training_lowers_the_loss(tools, tmp_path, loss):
    tools.go(tools.trainer(tmp_path, loss=loss, steps=60, lr=lambda step: 0.02, lam=lambda step: 5.0))
    losses = [line["loss"] for line in tools.lines(tmp_path)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_the_run_does_as_many_steps_as_planned(tools, tmp_path):
    trainer, count = tools.trainer(tmp_path), []
    trainer.optimizer.register_step_post_hook(lambda *_: count.append(1))
    tools.go(trainer)
    assert len(count) == trainer.progress.step == 12


def test_every_step_takes_its_own_batch(tools, tmp_path, monkeypatch):
    trainer, steps = tools.trainer(tmp_path), []
    batch = trainer.loader.batch
    monkeypatch.setattr(trainer.loader, "batch", lambda step: steps.append(step) or batch(step))
    tools.go(trainer)
    assert steps == list(range(12))


def test_statistics_are_taken_on_logged_steps_alone(tools, tmp_path, monkeypatch):
    calls, statistics = [], LSoftmax.statistics
    monkeypatch.setattr(LSoftmax, "statistics", lambda *arguments: calls.append(1) or statistics(*arguments))
    tools.go(tools.trainer(tmp_path))
    assert len(calls) == len(tools.lines(tmp_path)) == 8


def test_steps_between_logged_ones_ask_nothing_of_the_device(tools, tmp_path, monkeypatch):
    # softmax: on a CPU lsoftmax checks the range of the labels, which is allowed there alone
    trainer = tools.trainer(tmp_path, loss="softmax", log_every=100, eval_every=100, checkpoint_every=100)
    trainer._step()
    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, lambda *_, name=name: pytest.fail(f"{name} waits for the device"))
    for _ in range(5):
        trainer._step()


def test_a_logged_step_fetches_all_its_numbers_at_once(tools, tmp_path, monkeypatch):
    trainer, calls = tools.trainer(tmp_path, loss="softmax", log_every=1), []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: calls.append(1) or tolist(self))
    monkeypatch.setattr(torch.Tensor, "item", lambda self: pytest.fail("one number alone"))
    trainer._step()
    assert len(calls) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("loss", ["lsoftmax", "softmax"])
def test_steps_between_logged_ones_never_wait_for_the_gpu(tools, tmp_path, loss, never_waits):
    trainer = tools.trainer(tmp_path, device="cuda", loss=loss, log_every=100, eval_every=100, checkpoint_every=100)
    batches = [trainer.loader.batch(step) for step in range(8)]
    trainer.loader.batch = batches.__getitem__
    trainer._step()
    with never_waits():
        for _ in range(5):
            trainer._step()


def test_the_logged_loss_is_that_of_the_step(tools, tmp_path):
    trainer = tools.trainer(tmp_path, loss="softmax", log_every=1, steps=1)
    images, labels = trainer.loader.batch(0)
    state = torch.get_rng_state()
    expected = trainer.criterion(trainer.backbone(images), labels).item()
    torch.set_rng_state(state)
    tools.go(trainer)
    assert tools.lines(tmp_path)[0]["loss"] == expected


def test_the_logged_rate_and_lambda_are_those_of_the_step(tools, tmp_path):
    trainer = tools.go(tools.trainer(tmp_path))
    expected = [
        (trainer.plan.lr(line["step"] - 1), trainer.plan.lam(line["step"] - 1)) for line in tools.lines(tmp_path)
    ]
    assert [(line["lr"], line["lam"]) for line in tools.lines(tmp_path)] == expected


def test_a_loss_without_lambda_logs_none(tools, tmp_path):
    tools.go(tools.trainer(tmp_path, loss="softmax"))
    assert {line["lam"] for line in tools.lines(tmp_path)} == {None}


def test_the_logged_gradient_norm_is_that_of_all_gradients(tools, tmp_path):
    trainer, norms = tools.trainer(tmp_path, log_every=1, steps=2), []
    trainer.optimizer.register_step_pre_hook(
        lambda *_: norms.append(torch.cat([p.grad.flatten() for p in trainer.parameters]).norm().item())
    )
    tools.go(trainer)
    assert [line["gradient_norm"] for line in tools.lines(tmp_path)] == pytest.approx(norms, rel=1e-5)  # float32 sums


def test_the_curves_train_error_is_the_mean_of_the_logged_ones_since(tools, tmp_path):
    curve = tools.go(tools.trainer(tmp_path)).progress.curve
    seen = [line["train_error"] for line in tools.lines(tmp_path) if 4 < line["step"] <= 8]
    assert curve[1][1] == pytest.approx(sum(seen) / len(seen))


def test_the_first_checkpoint_is_written_before_the_first_step(tools, tmp_path):
    trainer = tools.trainer(tmp_path)
    with pytest.raises(tools.Killed):
        tools.go(trainer, tools.StopAt(0, tools.Killed()))
    assert trainer.path.exists() and trainer.progress.step == 0


# --- how it is executed


def test_bf16_stays_finite_and_learns(tools, tmp_path):
    tools.go(tools.trainer(tmp_path, precision="bf16", steps=60, lr=lambda step: 0.02, lam=lambda step: 5.0))
    losses = [line["loss"] for line in tools.lines(tmp_path)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_bf16_keeps_weights_and_momentum_in_float32(tools, tmp_path):
    trainer = tools.go(tools.trainer(tmp_path, precision="bf16"))
    momentum = [trainer.optimizer.state[p]["momentum_buffer"] for p in trainer.parameters]
    assert {t.dtype for t in (*trainer.parameters, *momentum)} == {torch.float32}


def test_bf16_computes_features_in_bf16(tools, tmp_path):
    trainer, kinds = tools.trainer(tmp_path, precision="bf16", eval_every=100), set()
    trainer.backbone.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
    trainer._step()
    assert kinds == {torch.bfloat16}


def test_bf16_resumes_to_the_same_bits(tools, tmp_path):
    whole = tools.outcome(tools.go(tools.trainer(tmp_path / "whole", precision="bf16")))
    with pytest.raises(tools.Killed):
        tools.go(tools.trainer(tmp_path / "killed", precision="bf16"), tools.StopAt(9, tools.Killed()))
    tools.check_same(tools.outcome(tools.go_on(tmp_path / "killed", precision="bf16")), whole)


def test_channels_last_trains_in_that_format(tools, tmp_path):
    trainer, formats = tools.trainer(tmp_path, channels_last=True), set()
    trainer.backbone[0].register_forward_hook(
        lambda module, inputs, output: formats.add(output.is_contiguous(memory_format=torch.channels_last))
    )
    trainer._step()
    assert formats == {True}


def test_channels_last_learns_the_same(tools, tmp_path):
    plain, last = (tools.trainer(tmp_path / str(on), channels_last=on) for on in (False, True))
    for trainer in (plain, last):
        trainer.backbone[3].p = 0.0  # dropout draws in the order of the memory
        tools.go(trainer)
    for a, b in zip(plain.parameters, last.parameters, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)  # float32 sums in another order, over 12 steps


def test_channels_last_resumes_to_the_same_bits(tools, tmp_path):
    whole = tools.outcome(tools.go(tools.trainer(tmp_path / "whole", channels_last=True)))
    with pytest.raises(tools.Killed):
        tools.go(tools.trainer(tmp_path / "killed", channels_last=True), tools.StopAt(9, tools.Killed()))
    tools.check_same(tools.outcome(tools.go_on(tmp_path / "killed", channels_last=True)), whole)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_run_learns_the_same(tools, tmp_path):
    plain, compiled = (tools.trainer(tmp_path / str(on), compile=on, steps=3) for on in (False, True))
    for trainer in (plain, compiled):
        trainer.backbone[3].p = 0.0  # the compiler draws other random numbers
        tools.go(trainer)
    for a, b in zip(plain.parameters, compiled.parameters, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)  # float32 sums in another order


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_run_goes_on_uncompiled(tools, tmp_path):
    with pytest.raises(tools.Killed):
        tools.go(tools.trainer(tmp_path, compile=True), tools.StopAt(9, tools.Killed()))
    assert tools.go_on(tmp_path, compile=False).progress.step == 12


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_runs_of_other_shapes_follow_each_other_in_a_process():
    from scripts.bench.runs import trainer_of

    for like in ("mnist", "cifar10"):  # once, the second run's convolutions were made dynamic and did not compile
        of_its_shape = ["dataset=synthetic", f"dataset.like={like}", f"model={like}", "dataset.train_images=100"]
        trainer = trainer_of([*of_its_shape, "schedule.batch_size=16", "trainer=fast"])
        try:
            trainer._step()
        finally:
            torch.use_deterministic_algorithms(False)
        assert all(parameter.isfinite().all() for parameter in trainer.parameters)
