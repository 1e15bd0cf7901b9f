"""The ROC over all pairs, against the ROC of the pairs written out."""

import pytest
import torch

from lsoftmax.metrics import all_pairs, all_pairs_roc, identify, retrieve
from lsoftmax.metrics.roc import Roc, roc


def written_out(features: torch.Tensor, labels: torch.Tensor) -> Roc:
    left, right = torch.triu_indices(len(labels), len(labels), 1)
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    return roc((unit[left] * unit[right]).sum(1), labels[left] == labels[right])


@pytest.fixture
def people() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(9, (80,), generator=generator)
    return torch.randn(80, 6, generator=generator) + torch.eye(9)[labels][:, :6], labels


@pytest.mark.parametrize("block", [1, 7 * 80, 2**23])
def test_as_the_pairs_written_out(people, block, monkeypatch):
    monkeypatch.setattr(all_pairs, "BLOCK", block)
    found, expected = all_pairs_roc(*people), written_out(*people)
    assert found.auc == pytest.approx(expected.auc, abs=1e-3) and found.eer == pytest.approx(expected.eer, abs=3e-3)
    for threshold in (-0.5, 0.0, 0.3, 0.8):
        ours, theirs = (int((curve.thresholds >= threshold).sum()) for curve in (found, expected))
        assert float(found.tar[ours]) == pytest.approx(float(expected.tar[theirs]), abs=2e-3)
        assert float(found.far[ours]) == pytest.approx(float(expected.far[theirs]), abs=2e-3)


def test_a_curve_begins_with_none_and_ends_with_all(people):
    curve = all_pairs_roc(*people)
    assert (float(curve.far[0]), float(curve.tar[0]), float(curve.far[-1]), float(curve.tar[-1])) == (0, 0, 1, 1)
    assert bool((curve.thresholds.diff() < 0).all()) and curve.thresholds[-1] == -torch.inf


def test_perfect_features_are_told_apart_in_half_precision_too():
    labels = torch.tensor([3, 5, 9]).repeat(4)
    curve = all_pairs_roc(torch.eye(3).repeat(4, 1).bfloat16(), labels)
    assert curve.auc == 1 and curve.eer == 0


@pytest.mark.parametrize("features", [torch.ones(20, 3), torch.zeros(20, 3)])
def test_features_that_have_collapsed_tell_nothing(features):
    curve = all_pairs_roc(features, torch.arange(4).repeat(5))
    assert curve.auc == curve.eer == 0.5


def test_only_directions_count(people):
    features, labels = people
    lengths = torch.rand(80, 1, generator=torch.Generator().manual_seed(1)) + 0.5
    assert all_pairs_roc(features * lengths, labels).auc == pytest.approx(all_pairs_roc(*people).auc, abs=1e-3)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (torch.ones(3), torch.arange(3), r"features must be \(N, D\) and labels \(N,\), got \(3,\) and \(3,\)"),
        (torch.ones(3, 2), torch.arange(3), "all 3 pairs are of different classes: a ROC needs both kinds"),
        (torch.ones(3, 2), torch.zeros(3), "all 3 pairs are of one class"),
        (torch.ones(0, 2), torch.zeros(0), "all 0 pairs are of different classes"),
        (torch.tensor([[1.0], [torch.nan]]), torch.zeros(2), "features must be finite"),
    ],
)
def test_what_has_no_curve_is_an_error(features, labels, message):
    with pytest.raises(ValueError, match=message):
        all_pairs_roc(features, labels)


def test_autocast_changes_none_of_the_metrics_of_features():
    torch.manual_seed(0)
    labels = torch.arange(120) % 12
    features, strangers = torch.randn(12, 16)[labels] + torch.randn(120, 16) + 2, torch.randn(500, 16) + 2

    def found():
        return (
            all_pairs_roc(features, labels).auc,
            retrieve(features, labels).map_at_r,
            retrieve(torch.ones(120, 16), labels).recall_at_1,
            identify(features, labels, strangers).rank,
        )

    expected = found()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert found() == expected
