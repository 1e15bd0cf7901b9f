"""The criteria of the registry: what a trainer may ask of any of them, and the instruments of a logged step."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from configs.schema import LOSSES as CONFIGURED
from lsoftmax import lsoftmax_cross_entropy, lsoftmax_logits
from lsoftmax.losses import LOSSES, create
from lsoftmax.losses.hinge import Hinge
from lsoftmax.losses.targets import strongest_rival, target_of

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


# The registry


def test_the_registry_has_every_loss_of_the_tables_and_its_later_rivals():
    assert list(LOSSES) == [
        *("softmax", "lsoftmax", "hinge", "contrastive", "triplet", "asoftmax", "cosface", "arcface")
    ]


def test_the_registry_and_the_configuration_know_the_same_losses():
    assert set(LOSSES) == set(CONFIGURED)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'sofmax'.*lsoftmax.*softmax"):
        create("sofmax", 16, 7)


@pytest.mark.parametrize("name, option", [("lsoftmax", "margin"), ("softmax", "m"), ("hinge", "m"), ("arcface", "lam")])
def test_an_unknown_option_is_refused_by_name(name, option):
    with pytest.raises(TypeError, match=f"'{option}'"):
        create(name, 16, 7, **{option: 4})


@pytest.mark.parametrize("option, value", [("m", 0), ("m", 2.0), ("lam", -1.0), ("gradient", "other")])
def test_an_option_out_of_range_is_refused_by_name(option, value):
    with pytest.raises(ValueError, match=f"{option} must be"):
        create("lsoftmax", 16, 7, **{option: value})


# The contract


def test_the_criterion_is_a_module_with_a_weight_and_hinge_alone_with_a_bias(criterion):
    shapes = {name: tuple(p.shape) for name, p in criterion.named_parameters()}
    assert isinstance(criterion, torch.nn.Module)
    assert shapes == {"weight": (7, 16)} | ({"bias": (7,)} if isinstance(criterion, Hinge) else {})


def test_the_state_dict_has_only_the_parameters(criterion):
    assert list(criterion.state_dict()) == [name for name, _ in criterion.named_parameters()]


def test_the_bias_of_all_others_is_none(criterion):
    assert isinstance(criterion, Hinge) or criterion.bias is None


def test_the_weight_starts_he_normal():
    weight = create("softmax", 200, 500).weight.detach()
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 200), rel=0.02)


@pytest.mark.parametrize("name", ["softmax", "lsoftmax", "hinge", "contrastive", "triplet"])
@pytest.mark.parametrize("training", [True, False])
def test_the_logits_are_plain(name, features, training):
    criterion = create(name, 16, 7)
    assert torch.equal(criterion.train(training).logits(features), F.linear(features, criterion.weight))


def test_the_loss_is_a_scalar_with_a_gradient_for_features_and_weight(criterion, features, labels):
    loss = criterion(features.requires_grad_(), labels)
    loss.backward()
    assert loss.shape == () and features.grad.any() and criterion.weight.grad.any()


def test_the_loss_is_the_same_for_the_same_batch(criterion, features, labels):
    assert torch.equal(criterion(features, labels), criterion(features, labels))


def test_the_loss_does_not_depend_on_the_order_of_the_batch(criterion, features, labels):
    order = torch.randperm(200)
    torch.testing.assert_close(criterion(features[order], labels[order]), criterion(features, labels))


def test_the_loss_leaves_its_arguments_alone(criterion, features, labels):
    before = features.clone(), labels.clone()
    criterion(features.requires_grad_(), labels).backward()
    assert torch.equal(features, before[0]) and torch.equal(labels, before[1])


def test_a_zero_feature_has_a_finite_loss_and_gradient(criterion, features, labels):
    features[:3] = 0
    loss = criterion(features.requires_grad_(), labels)
    loss.backward()
    assert loss.isfinite() and features.grad.isfinite().all() and criterion.weight.grad.isfinite().all()


def test_a_zero_weight_has_a_finite_loss_and_gradient(criterion, features, labels):
    criterion.weight.data[:2] = 0
    loss = criterion(features.requires_grad_(), labels)
    loss.backward()
    assert loss.isfinite() and features.grad.isfinite().all() and criterion.weight.grad.isfinite().all()


@pytest.mark.parametrize("sign", [1, -1])
def test_features_along_their_weights_have_a_finite_loss_and_gradient(criterion, labels, sign):
    features = (sign * 3 * criterion.weight.detach()[labels]).requires_grad_()
    loss = criterion(features, labels)
    loss.backward()
    assert loss.isfinite() and features.grad.isfinite().all() and criterion.weight.grad.isfinite().all()


@pytest.mark.parametrize("scale", [1e-18, 1e-9, 1e9])
def test_features_of_extreme_length_have_a_finite_loss_and_gradient(criterion, features, labels, scale):
    features = (scale * features).requires_grad_()
    loss = criterion(features, labels)
    loss.backward()
    assert loss.isfinite() and features.grad.isfinite().all() and criterion.weight.grad.isfinite().all()


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_samples_are_a_batch(criterion, features, labels, count):
    loss = criterion(features[:count], labels[:count])
    loss.backward()
    assert loss.isfinite() and criterion.weight.grad.isfinite().all()


def test_features_that_are_not_finite_make_the_loss_so_too(criterion, features, labels):
    features[5, 2] = math.nan
    assert not criterion(features, labels).isfinite()


@pytest.mark.parametrize("label", [-1, 7])
def test_a_label_out_of_range_raises_on_the_cpu(criterion, features, labels, label):
    labels[3] = label
    with pytest.raises((ValueError, IndexError)):  # IndexError: torch's own cross-entropy, in softmax
        criterion(features, labels)


def test_the_margin_logits_never_raise_the_lead_of_the_target(criterion, features, labels):
    plain, margin = criterion.logits(features), criterion.margin_logits(features, labels)
    lead = [target_of(logits, labels) - strongest_rival(logits, labels) for logits in (plain, margin)]
    assert (lead[1] <= lead[0] + 1e-5).all()


@pytest.mark.parametrize("name", ["lsoftmax", "asoftmax", "cosface", "arcface"])
def test_the_plain_scores_do_not_know_the_margin(name, features):
    criterion = create(name, 16, 7)
    before = criterion.logits(features)
    criterion.m = 1
    assert torch.equal(criterion.logits(features), before)


def test_every_loss_separates_a_separable_batch(criterion):
    labels = torch.arange(7).repeat(4)
    features = 3 * F.one_hot(labels, 16) + 0.3 * torch.randn(28, 16)
    if hasattr(criterion, "lam"):
        criterion.lam = 1.0
    optimizer = torch.optim.SGD(criterion.parameters(), lr=0.1, momentum=0.9)
    for _ in range(60):
        optimizer.zero_grad()
        criterion(features, labels).backward()
        optimizer.step()
    statistics = criterion.statistics(features, labels)
    assert statistics["train_error"] == 0 and statistics["wins"] == 1


def test_softmaxs_loss_is_the_mean_cross_entropy(features, labels):
    criterion = create("softmax", 16, 7)
    expected = F.cross_entropy(features @ criterion.weight.T, labels)
    torch.testing.assert_close(criterion(features, labels), expected)


@pytest.mark.parametrize("gradient", ["exact", "norms_live", "detached"])
def test_lsoftmaxs_loss_and_gradient_are_the_functions(features, labels, gradient):
    criterion = create("lsoftmax", 16, 7, m=3, lam=0.5, gradient=gradient)
    actual = criterion(features, labels)
    expected = lsoftmax_cross_entropy(features, criterion.weight, labels, m=3, lam=0.5, gradient=gradient)
    assert torch.equal(actual, expected)
    assert torch.equal(*(torch.autograd.grad(loss, criterion.weight)[0] for loss in (actual, expected)))


def test_lsoftmax_at_m_1_is_softmax(features, labels):
    softmax, lsoftmax = create("softmax", 16, 7), create("lsoftmax", 16, 7, m=1)
    lsoftmax.load_state_dict(softmax.state_dict())
    assert torch.equal(lsoftmax(features, labels), softmax(features, labels))


def test_lambda_and_m_may_be_set_at_every_step(lsoftmax, features, labels):
    for m, lam in ((2, 1000.0), (4, 5.0), (4, 0.0)):
        lsoftmax.m, lsoftmax.lam = m, lam
        expected = lsoftmax_cross_entropy(features, lsoftmax.weight, labels, m=m, lam=lam)
        torch.testing.assert_close(lsoftmax(features, labels), expected)


@pytest.mark.parametrize("name, value", [("m", 0), ("m", True), ("lam", -1.0), ("lam", math.nan)])
def test_a_setting_out_of_range_is_refused(lsoftmax, name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        setattr(lsoftmax, name, value)


def test_softmax_has_neither_m_nor_lambda():
    criterion = create("softmax", 16, 7)
    assert not hasattr(criterion, "m") and not hasattr(criterion, "lam")


@pytest.mark.parametrize("method", ["half", "bfloat16", "double"])
def test_lambda_survives_a_change_of_dtype(lsoftmax, method):
    lsoftmax.lam = 123456.0
    getattr(lsoftmax, method)()
    assert float(lsoftmax.lam) == 123456.0


def test_a_deep_copy_has_a_lambda_of_its_own(lsoftmax):
    other = copy.deepcopy(lsoftmax)
    lsoftmax.lam = 9.0
    assert float(other.lam) == 0.5


def test_the_loss_is_float32_under_autocast(criterion, features, labels):
    with torch.autocast("cpu", torch.bfloat16):
        loss = criterion(features, labels)
    loss.backward()
    assert loss.dtype == criterion.weight.grad.dtype == torch.float32


# Statistics, against numpy


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
