"""Mean cosines inside and between classes, against a loop over all pairs."""

from itertools import combinations
from math import cos, isnan, pi, sin
from statistics import mean

import pytest
import torch

from lsoftmax.metrics import ClassCosines, CosineSums
from lsoftmax.metrics import class_cosines as module


def of(features, labels, num_classes=5) -> ClassCosines:
    sums = CosineSums(num_classes, features.shape[1])
    sums.update(features, labels)
    return sums.compute()


@pytest.fixture
def features():
    return torch.randn(40, 7, generator=torch.Generator().manual_seed(0)) + 0.5


@pytest.fixture
def labels():
    return torch.randint(0, 5, (40,), generator=torch.Generator().manual_seed(1))


def pairs(features, labels, same):
    """The cosines of all pairs of the same class, or of different ones."""
    chosen = [(i, j) for i, j in combinations(range(len(labels)), 2) if (labels[i] == labels[j]).item() is same]
    return [float(torch.cosine_similarity(features[i], features[j], dim=0)) for i, j in chosen]


def test_they_are_the_means_over_all_pairs(features, labels):
    expected = mean(pairs(features, labels, True)), mean(pairs(features, labels, False))
    assert of(features, labels) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("most", [1, 2, 4])
def test_few_classes_at_a_time_say_the_same(features, labels, monkeypatch, most):
    whole = of(features, labels)
    monkeypatch.setattr(module, "CLASSES_AT_A_TIME", most)
    assert of(features, labels) == pytest.approx(whole, abs=1e-12)


def test_batches_add_up(features, labels):
    sums = CosineSums(5, 7)
    for part in (slice(0, 3), slice(3, 30), slice(30, 40)):
        sums.update(features[part], labels[part])
    assert sums.compute() == pytest.approx(of(features, labels), abs=1e-6)


def test_rays_of_two_classes():
    """Two classes on rays 120 degrees apart, of any lengths."""
    ray = torch.tensor([[1.0, 0.0], [cos(2 * pi / 3), sin(2 * pi / 3)]])
    labels = torch.tensor([0, 1, 0, 1, 1])
    lengths = torch.tensor([1.0, 2.0, 300.0, 0.04, 5.0]).unsqueeze(1)
    assert of(ray[labels] * lengths, labels, 2) == pytest.approx((1.0, -0.5), abs=1e-6)


def test_a_feature_of_length_zero_has_cosine_zero_with_everything(features, labels):
    features[3] = 0
    expected = mean(pairs(features, labels, True)), mean(pairs(features, labels, False))
    assert of(features, labels) == pytest.approx(expected, abs=1e-6)


def test_without_pairs_there_is_no_number(features):
    alone = of(features[:3], torch.arange(3))
    assert isnan(alone.same_class) and not isnan(alone.other_classes)
    together = of(features[:3], torch.zeros(3, dtype=torch.int64))
    assert isnan(together.other_classes) and not isnan(together.same_class)


def test_half_precision_adds_up_in_float32(features, labels):
    assert of(features.bfloat16(), labels) == pytest.approx(of(features.bfloat16().float(), labels), abs=1e-6)


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_neither_length_nor_the_default_dtype_counts(scale, default):
    features, labels = torch.randn(60, 8), torch.arange(60) % 6

    def of(features):
        sums = CosineSums(6, 8)
        sums.update(features, labels)
        return sums.compute()

    expected = of(features)
    torch.set_default_dtype(default)
    try:
        assert of(features * scale) == pytest.approx(expected, abs=1e-5)
    finally:
        torch.set_default_dtype(torch.float32)
