"""The criteria of the registry: what a trainer may ask of any of them."""

import copy
import math
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F

from configs import compose
from configs.schema import LOSSES as CONFIGURED
from lsoftmax import lsoftmax_cross_entropy
from lsoftmax.losses import LOSSES, create
from lsoftmax.losses.hinge import Hinge
from lsoftmax.losses.targets import strongest_rival, target_of


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


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"softmax", "hinge"}))  # the tables' hinge is not Caffe's
def test_by_default_a_margin_is_what_the_configuration_has(name):
    criterion = create(name, 16, 7)
    configured = asdict(compose([f"loss={name}"]).loss)
    for key in configured.keys() - {"name", "gradient", "margin_on"}:
        assert getattr(criterion, key) == configured[key], key


@pytest.mark.parametrize(("classes", "block"), [(6, None), (7, 3)])
def test_of_very_many_classes_lsoftmax_takes_a_block_at_a_time(classes, block, monkeypatch):
    taken = []
    monkeypatch.setattr("lsoftmax.losses.lsoftmax.MANY_CLASSES", 7)
    monkeypatch.setattr("lsoftmax.losses.lsoftmax.CLASS_BLOCK", 3)
    monkeypatch.setattr(
        "lsoftmax.losses.lsoftmax.lsoftmax_cross_entropy", lambda *_, **options: taken.append(options["class_block"])
    )
    create("lsoftmax", 16, classes)(torch.randn(2, 16), torch.zeros(2, dtype=torch.int64))
    assert taken == [block]


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


@pytest.mark.parametrize("name", ["lsoftmax", "asoftmax"])
@pytest.mark.parametrize("margin_on", ["all", "winners"])
def test_the_margin_logits_are_those_of_the_loss(features, labels, name, margin_on):
    criterion = create(name, 16, 7, m=3, lam=0.5, margin_on=margin_on)
    expected = F.cross_entropy(criterion.margin_logits(features, labels), labels)
    torch.testing.assert_close(criterion(features, labels), expected)


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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_softmax_is_l_softmax_without_a_margin_to_the_last_bit(dtype):
    features, labels = torch.randn(64, 8).to(dtype), torch.randint(5, (64,))
    softmax, lsoftmax = create("softmax", 8, 5).to(dtype), create("lsoftmax", 8, 5, m=1).to(dtype)
    lsoftmax.load_state_dict(softmax.state_dict())
    assert torch.equal(softmax(features, labels), lsoftmax(features, labels))
