"""The head, forward and backward, beside the plain linear layer with cross-entropy; and what both hold in memory."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lsoftmax import LSoftmaxLinear, losses, lsoftmax_cross_entropy
from lsoftmax.losses.lsoftmax import CLASS_BLOCK
from scripts.bench.measure import DEVICE, REPLAYS, Work, interleaved, peak_bytes, recorded

BATCH, M, LAM = 256, 4, 5.0
PEER = "pytorch-metric-learning"
LEAST_OF_MANY = 100_000  # classes
SIZES = ((10, 256, 2.5), (100, 512, 1.6), (10_575, 512, 1.03), (85_742, 512, 1.03))  # classes, features, target


def time_of_head(seconds: float) -> Iterator[dict[str, Any]]:
    """A row a size: milliseconds of the plain layer, and the others as multiples of it."""
    for classes, size, target in SIZES:
        heads = _heads(classes, size)
        yield {"classes x features": f"{classes:,} x {size}", **_beside_plain(heads, seconds), "target": target}
        if DEVICE.type == "cuda":  # of a CUDA graph: what is left where nobody waits for launches
            graphs = {name: recorded(heads[name]) for name in heads if name != PEER}
            beside = _beside_plain(graphs, seconds)
            yield {"classes x features": f"{classes:,} x {size}, {REPLAYS} replays", **beside, "target": None}


def _beside_plain(heads: Mapping[str, Work], seconds: float) -> dict[str, float]:
    median = interleaved(heads, seconds)
    plain = median["plain"]
    rest = {f"{name} / plain": round(value / plain, 3) for name, value in median.items() if name != "plain"}
    return {"plain ms": round(1000 * plain, 3), **rest}


def memory_of_head(seconds: float) -> Iterator[dict[str, Any]]:
    """What forward and backward hold beyond features and weight, the gradients of both included."""
    for classes, size, _ in SIZES:
        held = {name: peak_bytes(step, step.clear) for name, step in _heads(classes, size).items()}
        yield {
            "classes x features": f"{classes:,} x {size}",
            "plain MB": round(held["plain"] / 1e6, 2),
            **{f"{name} / plain": round(held[name] / held["plain"], 3) for name in held if name != "plain"},
            "target": 1.06,
        }


def many_classes(seconds: float) -> Iterator[dict[str, Any]]:
    """The walk over blocks of classes: memory beyond features, weight and its gradient, and time."""
    for classes, size in ((LEAST_OF_MANY, 512), (1_000_000, 512)):
        features, weight, labels = _problem(classes, size)
        x, w = features.requires_grad_(), weight.requires_grad_()
        ours = partial(lsoftmax_cross_entropy, x, w, labels, m=M, lam=LAM, class_block=CLASS_BLOCK)
        works = {
            "plain": _Step(lambda x=x, w=w, y=labels: F.cross_entropy(F.linear(x, w), y), x, w),  # type: ignore[misc]
            "blocks": _Step(ours, x, w),
        }
        if classes == LEAST_OF_MANY:  # of more the definition would not fit
            exact = _definition(x.detach().double(), w.detach().double(), labels, "all")
            _check_against(exact, (works["blocks"](), x.grad, w.grad), f"blocks of {classes:,} classes")
        gradient = weight.numel() * weight.element_size()
        beyond = {name: peak_bytes(work, work.clear) - gradient for name, work in works.items()}
        median = interleaved(works, seconds, least=3)
        yield {
            "classes x features": f"{classes:,} x {size}",
            "plain MB": round(beyond["plain"] / 1e6, 1),
            "blocks MB": round(beyond["blocks"] / 1e6, 1),
            "memory": round(beyond["blocks"] / beyond["plain"], 3),
            "memory target": 0.1,
            "plain ms": round(1000 * median["plain"], 1),
            "time": round(median["blocks"] / median["plain"], 3),
            "time target": 1.5,
        }


def _problem(classes: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features as batch normalisation leaves them, weights as they are initialised."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(BATCH, size, generator=generator)
    weight = torch.randn(classes, size, generator=generator) * (2 / size) ** 0.5
    labels = torch.randint(0, classes, (BATCH,), generator=generator)
    return features.to(DEVICE), weight.to(DEVICE), labels.to(DEVICE)


class _Step:
    """Forward and backward to `leaves`, whose gradients are made anew."""

    def __init__(self, loss: Callable[[], Tensor], *leaves: Tensor) -> None:
        self.loss, self.leaves = loss, leaves

    def __call__(self) -> Tensor:
        self.clear()
        value = self.loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value.detach()

    def clear(self) -> None:
        for leaf in self.leaves:
            leaf.grad = None


def _heads(classes: int, size: int) -> dict[str, _Step]:
    """The plain layer and its peers. Ours are held against the definition before anything is timed."""
    torch.compiler.reset()  # else the second size would be compiled for any size
    features, weight, labels = _problem(classes, size)
    x, w = features.requires_grad_(), weight.requires_grad_()
    criterion = losses.create("lsoftmax", size, classes, m=M, lam=LAM).to(DEVICE)
    layer = LSoftmaxLinear(size, classes, m=M, lam=LAM).to(DEVICE)
    winners = losses.create("lsoftmax", size, classes, m=M, lam=LAM, margin_on="winners").to(DEVICE)
    criterion.weight.data.copy_(w.detach())
    winners.weight.data.copy_(w.detach())
    layer.weight.data.copy_(w.detach())
    compiled = torch.compile(criterion)
    exact = (features.detach().double(), weight.detach().double(), labels)
    expected = {margin_on: _definition(*exact, margin_on) for margin_on in ("all", "winners")}
    ours = {
        "function": (_Step(lambda: lsoftmax_cross_entropy(x, w, labels, m=M, lam=LAM), x, w), w),
        "criterion": (_Step(lambda: criterion(x, labels), x, criterion.weight), criterion.weight),
        "layer": (_Step(lambda: F.cross_entropy(layer(x, labels), labels), x, layer.weight), layer.weight),
        "winners": (_Step(lambda: winners(x, labels), x, winners.weight), winners.weight),
        "compiled": (_Step(lambda: compiled(x, labels), x, criterion.weight), criterion.weight),
    }
    for name, (step, own_weight) in ours.items():
        definition = expected["winners" if name == "winners" else "all"]
        _check_against(definition, (step(), x.grad, own_weight.grad), f"{name} at {classes} x {size}")
    return {
        "plain": _Step(lambda: F.cross_entropy(F.linear(x, w), labels), x, w),
        **{name: step for name, (step, _) in ours.items()},
        **_peer(x, w.detach(), labels),
    }


def _peer(x: Tensor, weight: Tensor, labels: Tensor) -> dict[str, _Step]:
    """pytorch-metric-learning's loss, where it is installed. Without lambda: another loss, the same work."""
    try:
        from pytorch_metric_learning.losses import LargeMarginSoftmaxLoss
    except ImportError:
        return {}
    loss = LargeMarginSoftmaxLoss(*weight.shape, margin=M, scale=1.0).to(DEVICE)
    loss.W.data.copy_(weight.T)
    return {PEER: _Step(lambda: loss(x, labels), x, loss.W)}


def _check_against(definition: tuple[Tensor, ...], found: tuple[Tensor | None, ...], name: str) -> None:
    for value, right in zip(found, definition, strict=True):
        assert value is not None
        error = float((value.double() - right).abs().max() / right.abs().max())
        assert error < 1e-5, f"{name} is off the definition by {error:.1e}"


def _definition(features: Tensor, weight: Tensor, labels: Tensor, margin_on: str) -> tuple[Tensor, ...]:
    """Mean loss and its gradients from the angles, straight from Eq. 6, in the inputs' own precision."""
    x, w = features.requires_grad_(), weight.requires_grad_()
    logits = F.linear(x, w)
    own = w[labels]
    norms = x.norm(dim=1) * own.norm(dim=1)
    theta = ((x * own).sum(dim=1) / norms).acos()
    k = (theta.detach() * M / math.pi).floor()
    value = (-1) ** k * torch.cos(M * theta) - 2 * k
    target = norms * (LAM * theta.cos() + value) / (1 + LAM)
    if margin_on == "winners":
        target = torch.where(logits.argmax(dim=1) == labels, target, norms * theta.cos())
    loss = F.cross_entropy(logits.scatter(1, labels.unsqueeze(1), target.unsqueeze(1)), labels)
    return loss.detach(), *torch.autograd.grad(loss, (x, w))
