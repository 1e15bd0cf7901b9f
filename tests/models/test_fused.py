"""The functions of the compiled step against the stock operators, and that a compiled network takes them."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import models
from models import layers
from models.fused import fits, max_pool, normalize_activate

CHANNELS = 5


def channels_last(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape).to(dtype).to(memory_format=torch.channels_last)


def normalization() -> nn.BatchNorm2d:
    """In the middle of training: nothing is 0 or 1."""
    bn = nn.BatchNorm2d(CHANNELS)
    for values in (bn.weight.data, bn.bias.data, bn.running_mean, bn.running_var):
        values.uniform_(0.5, 2.0)
    bn.weight.data[0] *= -1
    return bn


def both(maps: Tensor, slope: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Output, all gradients, running mean and variance: of the fused function, and of the stock ones in float64."""
    bn = normalization()
    weights = torch.randn(maps.shape).to(memory_format=torch.channels_last)  # of a loss with a gradient everywhere
    results = []
    for fused, dtype in ((True, maps.dtype), (False, torch.float64)):
        unit = nn.BatchNorm2d(CHANNELS).to(torch.float64 if not fused else torch.float32)
        unit.load_state_dict(bn.state_dict())
        x = maps.detach().to(dtype).requires_grad_()
        a = slope.to(unit.weight.dtype).requires_grad_()
        out = normalize_activate(x, unit, a) if fused else F.prelu(unit(x), a)
        gradients = torch.autograd.grad((out.to(a.dtype) * weights).sum(), (x, unit.weight, unit.bias, a))
        assert unit.num_batches_tracked == 1
        results.append([out.detach(), *gradients, unit.running_mean, unit.running_var])
    return results[0], results[1]


@pytest.mark.parametrize("slope", [0.25, 0.0, 1.0, -0.5])
@pytest.mark.parametrize("shape", [(4, CHANNELS, 6, 6), (3, CHANNELS, 7, 3), (2, CHANNELS, 1, 1)])
def test_normalize_activate_is_prelu_of_batch_normalisation(shape, slope):
    fused, stock = both(channels_last(*shape), torch.full((CHANNELS,), slope))
    for a, b in zip(fused, stock, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)  # two images of one pixel: x - mean is small


def test_in_bfloat16_only_the_values_are_rounded():
    fused, stock = both(channels_last(4, CHANNELS, 6, 6, dtype=torch.bfloat16), torch.full((CHANNELS,), 0.25))
    assert fused[0].dtype == fused[1].dtype == torch.bfloat16
    for a, b in zip(fused[:2], stock[:2], strict=True):
        torch.testing.assert_close(a.double(), b, rtol=2**-7, atol=2**-7)


def test_a_mean_far_from_zero_costs_no_digits():
    maps = channels_last(8, CHANNELS, 4, 4) + 1000  # the square, 1e6, has no digit left for a variance of 1
    bn = nn.BatchNorm2d(CHANNELS)
    bn.running_mean.fill_(990.0)
    x = maps.double()
    expected = (x - x.mean((0, 2, 3), keepdim=True)) / x.var((0, 2, 3), correction=0, keepdim=True).sqrt()
    out = normalize_activate(maps, bn, torch.ones(CHANNELS))
    torch.testing.assert_close(out.double(), expected, rtol=1e-3, atol=1e-3)


def test_max_pool_is_the_stock_one_with_its_choice_among_equals():
    maps = channels_last(3, CHANNELS, 8, 6).mul(2).round()  # many ties
    results = []
    for pool in (max_pool, lambda x: F.max_pool2d(x, 2)):
        x = maps.clone().requires_grad_()
        out = pool(x)
        results.append((out, torch.autograd.grad(out.square().sum(), x)[0]))
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def test_nan_is_passed_on():
    assert torch.isnan(max_pool(torch.full((1, CHANNELS, 2, 2), torch.nan))).all()


def test_nothing_changes_where_nothing_is_compiled(monkeypatch):
    assert not fits(channels_last(2, CHANNELS, 4, 4))
    monkeypatch.setattr(layers, "fits", lambda maps: False)
    network, images = models.build("cifar10", (3, 32, 32), width=0.05), torch.randn(2, 3, 32, 32)
    out = network(images)
    monkeypatch.undo()
    assert torch.equal(network(images), out)


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_network_takes_them_and_learns_the_same(monkeypatch):
    calls, images = [], channels_last(4, 3, 8, 8)
    for name in ("normalize_activate", "max_pool"):
        function = getattr(layers, name)
        monkeypatch.setattr(layers, name, lambda *a, f=function, n=name: (calls.append(n), f(*a))[1])
    plain = nn.Sequential(layers.cascade(3, 8, 3, 1, stride=1, activation="prelu"), layers.MaxPool(ceil_mode=True))
    plain.to(memory_format=torch.channels_last)
    other = copy.deepcopy(plain)
    results = []
    for network, run in ((plain, plain), (other, torch.compile(other, backend="aot_eager"))):
        out = run(images)
        out.square().sum().backward()
        results.append([out.detach(), *(p.grad for p in network.parameters()), *network.buffers()])
    assert calls == ["normalize_activate", "max_pool"]
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def frozen(bn):
    bn.eval()


def averaging(bn):
    bn.momentum = None


def without_memory(bn):
    bn.running_mean = bn.running_var = bn.num_batches_tracked = None


@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("change", [frozen, averaging, without_memory])
def test_another_batch_normalisation_is_left_to_the_stock_operator(change):
    images = channels_last(4, 3, 8, 8) * 3 + 5
    network = layers.cascade(3, 8, 3, 1, stride=1, activation="prelu").to(memory_format=torch.channels_last)
    change(network[0].bn)
    other = copy.deepcopy(network)
    torch.testing.assert_close(torch.compile(other, backend="eager")(images), network(images))
    for a, b in zip(other.buffers(), network.buffers(), strict=True):
        torch.testing.assert_close(a, b)
