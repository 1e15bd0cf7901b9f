"""Nothing of a step waits for a value: on the device meta there are none, and whoever asks for one fails.

It stands for an accelerator, where a value asked for makes the host wait for all that is queued.
"""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from lsoftmax import AdaptiveLambda, LSoftmaxLinear, lsoftmax_cross_entropy, lsoftmax_logits, required_lambda
from lsoftmax.losses import LOSSES, create

# On a GPU these read a value back all the same, though meta has none to ask for.
READ_BACK = {torch.ops.aten.masked_fill.Tensor, torch.ops.aten.masked_fill_.Tensor}
GRADIENTS = ("exact", "norms_live", "detached")


class ReadsNothingBack(TorchDispatchMode):
    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        assert operator not in READ_BACK, f"{operator} waits for the device"
        return operator(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def reads_nothing_back() -> Iterator[None]:
    with ReadsNothingBack():
        yield


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    with torch.device("meta"):
        return torch.empty(8, 16, requires_grad=True), torch.empty(8, dtype=torch.int64)


@pytest.fixture
def weight() -> torch.Tensor:
    return torch.empty(7, 16, device="meta", requires_grad=True)


@pytest.fixture(params=[5.0, torch.empty((), device="meta")], ids=["number", "tensor"])
def lam(request):
    return request.param


def test_an_operator_that_reads_back_is_seen():
    values = torch.empty(3, device="meta")
    with pytest.raises(AssertionError, match="masked_fill_"):
        values.masked_fill_(values > 0, torch.empty((), device="meta"))


def test_the_device_has_no_values():
    with pytest.raises(RuntimeError):
        torch.empty((), device="meta").item()


@pytest.mark.parametrize("margin_on", ["all", "winners"])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_the_fused_loss(batch, weight, lam, gradient, margin_on):
    features, labels = batch
    loss = lsoftmax_cross_entropy(features, weight, labels, m=4, lam=lam, gradient=gradient, margin_on=margin_on)
    loss.backward()
    assert loss.shape == () and features.grad.shape == (8, 16) and weight.grad.shape == (7, 16)


@pytest.mark.parametrize("margin_on", ["all", "winners"])
def test_the_fused_loss_over_blocks_of_classes(batch, weight, lam, margin_on):
    features, labels = batch
    lsoftmax_cross_entropy(features, weight, labels, m=4, lam=lam, margin_on=margin_on, class_block=3).backward()
    assert features.grad.shape == (8, 16) and weight.grad.shape == (7, 16)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_the_logits(batch, weight, lam, gradient):
    features, labels = batch
    logits = lsoftmax_logits(features, weight, labels, m=4, lam=lam, gradient=gradient)
    F.cross_entropy(logits, labels).backward()
    assert logits.shape == (8, 7) and features.grad.shape == (8, 16)


def test_the_head_with_a_lambda_set_at_every_step(batch):
    features, labels = batch
    head = LSoftmaxLinear(16, 7, m=4).to("meta")
    for lam in (5.0, torch.empty((), device="meta")):
        head.lam = lam
        F.cross_entropy(head(features, labels), labels).backward()
    assert head(features).shape == (8, 7)


@pytest.mark.parametrize("name", LOSSES)
def test_every_criterion(batch, name):
    features, labels = batch
    criterion = create(name, 16, 7).to("meta")
    loss = criterion(features, labels)
    loss.backward()
    assert loss.shape == () and features.grad.shape == (8, 16)


@pytest.mark.parametrize("name", LOSSES)
def test_the_instruments_of_every_criterion(batch, name):
    criterion = create(name, 16, 7).to("meta")
    assert {value.shape for value in criterion.statistics(*batch).values()} == {()}


def test_the_controller(batch, weight):
    features, labels = batch
    controller = AdaptiveLambda(guard=0.5).to("meta")
    for _ in range(2):
        lsoftmax_cross_entropy(features, weight, labels, m=4, lam=controller.lam).backward()
        controller.update(required_lambda(features, weight, labels, m=4), class_norms=weight.norm(dim=1))
    assert controller.lam.is_meta
