"""The hinge loss against scalar loops, scikit-learn and torch."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import hinge_loss as sklearn_hinge

from lsoftmax.losses import create, hinge_loss

FORMS = ["one_vs_all", "crammer_singer"]
OPTIONS = [
    {"form": form, "norm": norm, "class_reduction": reduction}
    for form, norm, reduction in itertools.product(FORMS, ["l1", "l2"], ["sum", "mean"])
]


@pytest.fixture
def bias() -> torch.Tensor:
    return torch.randn(4, dtype=torch.float64, requires_grad=True)


def slow(scores: list[list[float]], labels: list[int], form: str, norm: str, class_reduction: str) -> float:
    """Read off the definition, one hinge at a time."""
    power, total = {"l1": 1, "l2": 2}[norm], 0.0
    for row, y in zip(scores, labels, strict=True):
        if form == "one_vs_all":
            hinges = [max(0.0, 1 - (1 if j == y else -1) * f) ** power for j, f in enumerate(row)]
            total += sum(hinges) / (len(row) if class_reduction == "mean" else 1)
        else:
            total += max(0.0, 1 + max(f for j, f in enumerate(row) if j != y) - row[y]) ** power
    return total / len(labels)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_loss_equals_the_slow_definition(options, batch, bias):
    features, weight, labels = batch(30)
    scores = (features.detach().numpy() @ weight.detach().numpy().T + bias.detach().numpy()).tolist()
    expected = slow(scores, labels.tolist(), **options)
    assert hinge_loss(features, weight, labels, bias=bias, **options).item() == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_gradient_is_that_of_the_loss(options, batch, bias):
    features, weight, labels = batch()
    loss = lambda x, w, b: hinge_loss(x, w, labels, bias=b, **options)  # noqa: E731
    assert torch.autograd.gradcheck(loss, (features, weight, bias))


def test_scikit_learn_agrees_on_crammer_singer(batch):
    features, weight, labels = batch(40)
    expected = sklearn_hinge(labels.numpy(), (features @ weight.T).detach().numpy(), labels=np.arange(4))
    assert hinge_loss(features, weight, labels, form="crammer_singer").item() == pytest.approx(expected, rel=1e-12)


def test_scikit_learn_agrees_on_one_vs_all_as_a_sum_of_binary_losses(batch):
    features, weight, labels = batch(40)
    scores = (features @ weight.T).detach().numpy()
    expected = sum(sklearn_hinge(np.where(labels.numpy() == j, 1, -1), scores[:, j]) for j in range(4))
    assert hinge_loss(features, weight, labels).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("norm", "p"), [("l1", 1), ("l2", 2)])
def test_torchs_multi_margin_loss_is_crammer_singers_for_two_classes(norm, p, batch):
    # Beyond two classes it sums over the rivals (Weston and Watkins) instead of taking the strongest.
    features, weight, labels = batch(40, 5, 2)
    expected = 2 * F.multi_margin_loss(features @ weight.T, labels, p=p)  # divided by the classes there
    actual = hinge_loss(features, weight, labels, form="crammer_singer", norm=norm)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("options", OPTIONS)
def test_no_bias_is_a_bias_of_0(options, batch):
    features, weight, labels = batch()
    zero = torch.zeros(4, dtype=torch.float64)
    expected = hinge_loss(features, weight, labels, bias=zero, **options)
    torch.testing.assert_close(hinge_loss(features, weight, labels, **options), expected)


@pytest.mark.parametrize("options", OPTIONS)
def test_scores_beyond_their_margins_lose_nothing(options):
    features = torch.eye(3).requires_grad_()
    weight = 4 * torch.eye(3) - 2
    loss = hinge_loss(features, weight, torch.arange(3), **options)
    assert loss == 0 and not torch.autograd.grad(loss, features)[0].any()


@pytest.mark.parametrize("options", OPTIONS)
def test_a_score_on_its_margin_has_no_gradient(options):
    weight = torch.tensor([[1.0], [-1.0]] if options["form"] == "one_vs_all" else [[0.5], [-0.5]])
    features = torch.ones(1, 1, requires_grad=True)
    loss = hinge_loss(features, weight, torch.tensor([0]), **options)
    assert loss == 0 and torch.autograd.grad(loss, features)[0] == 0


def test_scores_of_0_lose_one_for_each_class():
    assert hinge_loss(torch.zeros(3, 5), torch.ones(4, 5), torch.tensor([0, 1, 2])) == 4


def test_crammer_singer_loses_one_at_scores_of_0():
    labels = torch.tensor([0, 1, 2])
    assert hinge_loss(torch.zeros(3, 5), torch.ones(4, 5), labels, form="crammer_singer") == 1


def test_a_single_class_has_no_rival(batch):
    features, weight, labels = batch(6, 5, 1)
    assert hinge_loss(features, weight, labels, form="crammer_singer") == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [("form", "ovr"), ("form", None), ("norm", "L1"), ("norm", 2), ("class_reduction", "none")],
)
def test_an_unknown_option_is_refused(option, value, batch):
    with pytest.raises(ValueError, match=f"{option} must be .* or .*, got {value!r}"):
        hinge_loss(*batch(), **{option: value})
    with pytest.raises(ValueError, match=f"{option} must be"):
        create("hinge", 5, 4, **{option: value})


@pytest.mark.parametrize("shape", [(5,), (4, 1), ()])
def test_a_bias_of_another_shape_is_refused(shape, batch):
    with pytest.raises(ValueError, match=r"bias must be \(C,\) = \(4,\)"):
        hinge_loss(*batch(), bias=torch.zeros(shape, dtype=torch.float64))


def test_a_bias_of_another_dtype_is_refused(batch):
    with pytest.raises(TypeError, match="bias must have the weight's dtype"):
        hinge_loss(*batch(), bias=torch.zeros(4))


@pytest.mark.parametrize("options", OPTIONS)
def test_the_criterion_is_the_function(options, batch):
    features, _, labels = batch(20)
    criterion = create("hinge", 5, 4, **options).double()
    torch.nn.init.normal_(criterion.bias)
    expected = hinge_loss(features, criterion.weight, labels, bias=criterion.bias, **options)
    assert torch.equal(criterion(features, labels), expected)


def test_the_bias_starts_at_0_and_learns(batch):
    features, _, labels = batch(dtype=torch.float32)
    criterion = create("hinge", 5, 4)
    assert not criterion.bias.any()
    criterion(features, labels).backward()
    assert criterion.bias.grad.any()


def test_the_plain_scores_have_the_bias():
    criterion = create("hinge", 5, 4)
    torch.nn.init.normal_(criterion.bias)
    assert torch.equal(criterion.logits(torch.zeros(1, 5))[0], criterion.bias)


@pytest.mark.parametrize(("form", "lead"), [("one_vs_all", 2.0), ("crammer_singer", 1.0)])
def test_wins_with_margin_asks_for_the_lead_of_a_row_without_loss(form, lead):
    criterion = create("hinge", 1, 2, form=form)
    criterion.weight.data = torch.tensor([[1.0], [0.0]])
    features = torch.tensor([[lead - 0.1], [lead + 0.1]])
    statistics = criterion.statistics(features, torch.tensor([0, 0]))
    assert (statistics["wins"], statistics["wins_with_margin"]) == (1, 0.5)
