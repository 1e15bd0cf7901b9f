"""The instruments of a logged step, against numpy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lsoftmax import blockwise, lsoftmax_logits
from lsoftmax.losses import LOSSES, create

STATISTICS = {
    *("train_error", "target_angle", "target_angle_q05", "target_angle_q50", "target_angle_q95", "positive_psi"),
    *("wins", "wins_with_margin", "feature_norm", "feature_norm_min", "feature_norm_max"),
    *("weight_norm", "weight_norm_min", "weight_norm_max"),
}


@pytest.fixture(params=LOSSES)
def criterion(request):
    return create(request.param, 16, 7)


@pytest.fixture
def lsoftmax():
    return create("lsoftmax", 16, 7, m=3, lam=0.5)


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(200, 16)


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.randint(7, (200,))


@pytest.fixture
def numbers(lsoftmax, features, labels) -> dict[str, np.ndarray]:
    """What the statistics are made of, float64."""
    x, w, y = features.double().numpy(), lsoftmax.weight.detach().double().numpy(), labels.numpy()
    norm_x, norm_w = np.linalg.norm(x, axis=1), np.linalg.norm(w, axis=1)
    logits = x @ w.T
    angle = np.arccos(logits[range(200), y] / norm_x / norm_w[y])
    return {"logits": logits, "angle": angle, "norm_x": norm_x, "norm_w": norm_w, "labels": y}


@pytest.fixture
def statistics(lsoftmax, features, labels) -> dict[str, float]:
    return {name: value.item() for name, value in lsoftmax.statistics(features, labels).items()}


def wins(logits: np.ndarray, labels: np.ndarray) -> float:
    """The share of rows whose own logit is above every other."""
    won = [all(row[y] > row[j] for j in range(7) if j != y) for row, y in zip(logits, labels, strict=True)]
    return sum(won) / len(won)


def test_the_statistics_are_0_dim_tensors_without_a_graph(criterion, features, labels):
    result = criterion.statistics(features.requires_grad_(), labels)
    assert all(value.shape == () and not value.requires_grad for value in result.values())


def test_the_statistics_have_the_names_of_the_run_log(criterion, features, labels):
    assert set(criterion.statistics(features, labels)) == STATISTICS


@pytest.mark.parametrize("most", [1, 7 * 64, 7 * 199])
def test_few_rows_at_a_time_say_the_same(criterion, features, labels, monkeypatch, most):
    whole = criterion.statistics(features, labels)
    monkeypatch.setattr(blockwise, "LOGITS_AT_A_TIME", most)
    assert criterion.statistics(features, labels) == whole


def test_train_error_is_the_percentage_missed_by_the_plain_logits(statistics, numbers):
    misses = numbers["logits"].argmax(axis=1) != numbers["labels"]
    assert statistics["train_error"] == pytest.approx(100 * misses.mean(), rel=1e-6)


def test_wins_is_the_share_whose_plain_target_is_strictly_first(statistics, numbers):
    assert statistics["wins"] == pytest.approx(wins(numbers["logits"], numbers["labels"]), rel=1e-6)


def test_wins_with_margin_counts_the_annealed_target(statistics, lsoftmax, features, labels, reference):
    logits = reference(features, lsoftmax.weight, labels, m=3, lam=0.5).logits
    share = wins(logits, labels.numpy())
    assert statistics["wins_with_margin"] == pytest.approx(share, rel=1e-6)
    assert share < statistics["wins"]


def test_target_angle_is_the_mean_angle_in_degrees(statistics, numbers):
    assert statistics["target_angle"] == pytest.approx(np.degrees(numbers["angle"]).mean(), rel=1e-5)


@pytest.mark.parametrize("name, q", [("q05", 0.05), ("q50", 0.5), ("q95", 0.95)])
def test_the_angles_quantiles_are_those_of_the_batch(statistics, numbers, name, q):
    expected = np.quantile(np.degrees(numbers["angle"]), q, method="nearest")
    assert statistics[f"target_angle_{name}"] == pytest.approx(expected, rel=1e-5)


def test_positive_psi_is_the_share_of_angles_below_pi_over_2m(statistics, numbers):
    assert statistics["positive_psi"] == pytest.approx((numbers["angle"] < np.pi / 6).mean(), rel=1e-6, abs=1e-9)


def test_positive_psi_counts_known_angles(lsoftmax):
    theta = torch.deg2rad(torch.tensor([0.0, 29.0, 31.0, 59.0, 90.0, 180.0]))
    lsoftmax.weight.data[0] = F.one_hot(torch.tensor(0), 16).float()
    features = F.pad(torch.stack((theta.cos(), theta.sin()), dim=1), (0, 14))
    result = lsoftmax.statistics(features, torch.zeros(6, dtype=torch.int64))
    assert result["positive_psi"].item() == pytest.approx(2 / 6)


def test_softmaxs_positive_psi_is_the_share_of_acute_angles(features, labels):
    criterion = create("softmax", 16, 7)
    share = ((features * criterion.weight[labels]).sum(dim=1) > 0).float().mean()
    assert criterion.statistics(features, labels)["positive_psi"] == share


def test_softmaxs_margin_wins_are_its_wins(features, labels):
    result = create("softmax", 16, 7).statistics(features, labels)
    assert result["wins_with_margin"] == result["wins"]


@pytest.mark.parametrize("what, key", [("feature", "norm_x"), ("weight", "norm_w")])
def test_the_norms_are_mean_min_and_max(statistics, numbers, what, key):
    actual = [statistics[f"{what}_norm{suffix}"] for suffix in ("", "_min", "_max")]
    norms = numbers[key]
    assert actual == pytest.approx([norms.mean(), norms.min(), norms.max()], rel=1e-5)


def test_a_tie_is_no_win(lsoftmax):
    lsoftmax.weight.data[1] = lsoftmax.weight.data[0]
    features = 100 * lsoftmax.weight.detach()[:1]
    assert lsoftmax.statistics(features, torch.tensor([0]))["wins"] == 0


def test_a_single_sample_has_statistics(criterion, features, labels):
    assert all(value.isfinite() for value in criterion.statistics(features[:1], labels[:1]).values())


def test_a_zero_feature_counts_as_a_right_angle(criterion, features, labels):
    features[0] = 0
    result = criterion.statistics(features[:1], labels[:1])
    assert result["target_angle"].item() == pytest.approx(90)


@pytest.mark.parametrize("scale", [1e-18, 1e-9, 1e9, 1e18])
def test_the_angle_does_not_depend_on_the_norm(criterion, features, labels, scale):
    angle = criterion.statistics(features, labels)["target_angle"].item()
    assert criterion.statistics(scale * features, labels)["target_angle"].item() == pytest.approx(angle, rel=1e-4)


def test_the_statistics_are_float32_under_autocast(criterion, features, labels):
    criterion.weight.data = criterion.weight[:1].detach() + 1e-3 * torch.randn(7, 16)  # ties in bfloat16
    expected = criterion.statistics(features, labels)
    with torch.autocast("cpu", torch.bfloat16):
        actual = criterion.statistics(features, labels)
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


def test_half_precision_features_of_a_float32_criterion_have_statistics(criterion, features, labels):
    expected = criterion.statistics(features.bfloat16().float(), labels)
    assert criterion.statistics(features.bfloat16(), labels) == expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_criterion_of_another_dtype_has_statistics(criterion, features, labels, dtype):
    criterion.to(dtype)
    result = criterion.statistics(features.to(dtype), labels)
    assert all(value.isfinite() for value in result.values())


def test_the_statistics_leave_no_trace(lsoftmax, features, labels):
    before = features.clone()
    lsoftmax.statistics(features, labels)
    assert torch.equal(features, before) and lsoftmax.weight.grad is None


def test_the_margin_logits_are_the_functions(lsoftmax, features, labels):
    expected = lsoftmax_logits(features, lsoftmax.weight, labels, m=3, lam=0.5)
    assert torch.equal(lsoftmax.margin_logits(features, labels), expected)
