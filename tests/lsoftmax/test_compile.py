"""Under torch.compile: one graph, the same numbers, and a lambda in a tensor that costs no recompile."""

import shutil

import pytest
import torch

from lsoftmax import LambdaSchedule, LSoftmaxLinear, lsoftmax_cross_entropy, lsoftmax_logits

# torch's own: dynamo makes an instance of every autograd.Function that it traces, inductor imports torch.jit's past.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")


@pytest.fixture(autouse=True)
def no_compiled_graphs():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled(function, backend: str = "aot_eager"):
    """aot_eager traces forward and backward as inductor does and needs no C++ compiler."""
    return torch.compile(function, fullgraph=True, backend=backend)


def fused(features, weight, labels, lam):
    return lsoftmax_cross_entropy(features, weight, labels, m=4, lam=lam)


def unfused(features, weight, labels, lam):
    return lsoftmax_logits(features, weight, labels, m=4, lam=lam).square().mean()


def fused_for_winners(features, weight, labels, lam):
    return lsoftmax_cross_entropy(features, weight, labels, m=4, lam=lam, margin_on="winners")


def unfused_for_winners(features, weight, labels, lam):
    return lsoftmax_logits(features, weight, labels, m=4, lam=lam, margin_on="winners").square().mean()


def over_blocks(features, weight, labels, lam):
    return lsoftmax_cross_entropy(features, weight, labels, m=4, lam=lam, class_block=2)


def over_blocks_of_columns(features, weight, labels, lam):
    """A weight that lies in memory as its transpose: a block of its gradient is not contiguous."""
    return over_blocks(features, weight.t().contiguous().t(), labels, lam)


FUNCTIONS = [fused, unfused, fused_for_winners, unfused_for_winners, over_blocks, over_blocks_of_columns]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_compiled_function_agrees_with_eager(function, batch):
    features, weight, labels = batch(dtype=torch.float32)
    lam = torch.tensor(0.5)
    values = [call(features, weight, labels, lam) for call in (function, compiled(function))]
    eager, traced = ((value, *torch.autograd.grad(value, (features, weight))) for value in values)
    torch.testing.assert_close(traced, eager, rtol=1e-6, atol=1e-6)


def test_a_lambda_tensor_does_not_recompile(batch):
    step = compiled(fused)
    features, weight, labels = batch(dtype=torch.float32)
    step(features, weight, labels, torch.tensor(1000.0)).backward()
    with torch._dynamo.config.patch(error_on_recompile=True):
        for lam in (5.0, 0.1, 0.0):
            loss = step(features, weight, labels, torch.tensor(lam))
            assert loss.item() == pytest.approx(fused(features, weight, labels, lam).item(), rel=1e-5)


def test_setting_a_heads_lambda_does_not_recompile(batch):
    head = LSoftmaxLinear(5, 4, lam=1000.0)
    features, _, labels = batch(dtype=torch.float32)
    step = compiled(head)
    step(features, labels)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for lam in (5.0, 0.1, 0.0):
            head.lam = lam
            torch.testing.assert_close(step(features, labels), head(features, labels), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("lams", [(5.0, 0.5), (torch.tensor(5.0), torch.tensor(0.5))], ids=["number", "tensor"])
def test_a_lambda_set_within_the_compiled_step_counts_and_stays(batch, lams):
    features, _, labels = batch(dtype=torch.float32)
    head = LSoftmaxLinear(5, 4, lam=1000.0)

    def step(lam):
        head.lam = lam
        return head(features, labels).square().mean()

    for lam in lams:
        traced = compiled(step)(lam)
        assert float(head.lam) == float(lam)
        torch.testing.assert_close(traced, step(lam), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("source", ["numbers", "a schedule"])
def test_a_lambda_set_within_the_compiled_step_is_compiled_twice_at_most(batch, source):
    """Once as it came first, once as a number that may change."""
    features, _, labels = batch(dtype=torch.float32)
    head, schedule = LSoftmaxLinear(5, 4), LambdaSchedule(base=1000.0, gamma=0.01, power=45.0)
    counter = torch._dynamo.testing.CompileCounterWithBackend("eager")

    def step(number):
        head.lam = schedule(number) if source == "a schedule" else 1000.0 / (number + 1)
        return head(features, labels).square().mean()

    traced = torch.compile(step, backend=counter, fullgraph=True)
    for number in range(20):
        torch.testing.assert_close(traced(number), step(number), rtol=1e-6, atol=1e-6)
    assert counter.frame_count <= 3
    torch.compiler.reset()


def test_a_lambda_tensor_set_within_the_compiled_step_does_not_recompile(batch):
    features, _, labels = batch(dtype=torch.float32)
    head = LSoftmaxLinear(5, 4)

    @compiled
    def step(lam):
        head.lam = lam
        return head(features, labels)

    step(torch.tensor(1000.0))
    with torch._dynamo.config.patch(error_on_recompile=True):
        for lam in (5.0, 0.0):
            step(torch.tensor(lam))
            assert float(head.lam) == lam


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inductor_agrees_with_eager(dtype, batch):
    features, weight, labels = batch(64, 33, 10, dtype)
    values = [call(features, weight, labels, torch.tensor(0.5)) for call in (fused, compiled(fused, "inductor"))]
    eager, traced = ((value, *torch.autograd.grad(value, (features, weight))) for value in values)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(traced, eager, rtol=tolerance, atol=tolerance)
