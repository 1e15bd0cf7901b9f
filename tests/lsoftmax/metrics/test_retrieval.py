"""Retrieval of an image's mates, against a plain loop over all images."""

import pytest
import torch

from lsoftmax.metrics import retrieval, retrieve


def by_loop(features: torch.Tensor, labels: list[int]) -> tuple[list[bool], float]:
    """Hits, and MAP@R: strangers come before mates of the same score."""
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    hits, precisions = [], []
    for query, label in enumerate(labels):
        others = [k for k in range(len(labels)) if k != query]
        scores = {k: round(float(unit[query] @ unit[k]), 9) for k in others}
        ranked = [labels[k] == label for k in sorted(others, key=lambda k: (-scores[k], labels[k] == label))]
        r = sum(ranked)
        hits.append(ranked[0])
        if r:
            precisions.append(sum(sum(ranked[: i + 1]) / (i + 1) for i in range(r) if ranked[i]) / r)
    return hits, sum(precisions) / len(precisions)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rows", [7, 1024])
def test_as_a_loop_over_all_images_finds(seed, rows, monkeypatch):
    monkeypatch.setattr(retrieval, "ROWS", rows)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(6, (50,), generator=generator)
    features = torch.randn(50, 4, generator=generator) + torch.nn.functional.one_hot(labels, 6)[:, :4]
    found, (hits, map_at_r) = retrieve(features, labels), by_loop(features, labels.tolist())
    assert found.hits.tolist() == hits and found.map_at_r == pytest.approx(map_at_r, abs=1e-6)
    assert found.recall_at_1 == sum(hits) / found.queries


def test_an_image_without_mates_is_no_query_but_may_be_found():
    labels = torch.tensor([0, 0, 7])
    found = retrieve(torch.tensor([[1.0, 0.0], [0.6, 0.8], [1.0, 0.1]]), labels)
    assert found.queries == 2 and found.hits.tolist() == [False, False, False] and found.recall_at_1 == 0


def test_features_that_have_collapsed_find_nothing():
    labels = torch.arange(4).repeat(5)
    assert retrieve(torch.ones(20, 3), labels).recall_at_1 == 0 == retrieve(torch.zeros(20, 3), labels).map_at_r


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_only_directions_count(scale):
    features, labels = torch.randn(30, 5, generator=torch.Generator().manual_seed(0)), torch.arange(5).repeat(6)
    lengths = torch.rand(30, 1, generator=torch.Generator().manual_seed(1)) + 0.5
    assert torch.equal(retrieve(features * lengths * scale, labels).hits, retrieve(features, labels).hits)


def test_perfect_features_find_all_in_half_precision_too():
    labels = torch.tensor([3, 5, 9]).repeat(4)
    found = retrieve(torch.eye(3).repeat(4, 1).bfloat16(), labels)
    assert found.recall_at_1 == found.map_at_r == 1 and found.queries == 12


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (torch.ones(3), torch.arange(3), r"features must be \(N, D\) and labels \(N,\), got \(3,\) and \(3,\)"),
        (torch.ones(3, 2), torch.arange(2), r"got \(3, 2\) and \(2,\)"),
        (torch.ones(3, 2), torch.arange(3), "no class has two images"),
        (torch.ones(0, 2), torch.arange(0), "no class has two images"),
        (torch.tensor([[1.0], [torch.nan]]), torch.zeros(2), "features must be finite"),
    ],
)
def test_what_cannot_be_searched_is_an_error(features, labels, message):
    with pytest.raises(ValueError, match=message):
        retrieve(features, labels)
