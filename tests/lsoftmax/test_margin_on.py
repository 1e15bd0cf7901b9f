"""margin_on="winners": the margin on rows that win without it, softmax for the others."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lsoftmax import LSoftmaxLinear, lsoftmax_cross_entropy, lsoftmax_logits
from lsoftmax.losses import LOSSES, create

KINDS = ["exact", "norms_live", "detached"]
WAYS = [{}, {"class_block": 1}, {"class_block": 4}]  # all logits at once, and blocks of classes


def some(n: int = 40, d: int = 6, c: int = 9, dtype: torch.dtype = torch.float64):
    """A batch of which some win and some lose."""
    generator = torch.Generator().manual_seed(7)
    weight, labels = torch.randn(c, d, generator=generator).double(), torch.arange(n) % c
    features = weight[labels] + 1.2 * torch.randn(n, d, generator=generator)
    return features.to(dtype), weight.to(dtype), labels


def winning(features, weight, labels) -> np.ndarray:
    """By a plain loop over the plain logits."""
    logits = (features.double() @ weight.double().T).numpy()
    return np.array([row[y] > np.delete(row, y).max(initial=-np.inf) for row, y in zip(logits, labels, strict=True)])


def loss_and_gradients(features, weight, labels, **options):
    x, w = features.detach().requires_grad_(), weight.detach().requires_grad_()
    loss = lsoftmax_cross_entropy(x, w, labels, margin_on="winners", **options)
    return loss.detach(), *torch.autograd.grad(loss.sum(), (x, w))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lam", [0.0, 0.7])
@pytest.mark.parametrize("m", [2, 3, 4])
def test_it_is_the_reference_of_winners_and_of_losers(way, kind, lam, m, reference):
    features, weight, labels = some()
    wins = winning(features, weight, labels)
    assert 10 < wins.sum() < 35
    loss, grad_x, grad_w = loss_and_gradients(
        features, weight, labels, m=m, lam=lam, gradient=kind, reduction="none", **way
    )
    for rows, lam_of_rows in ((wins, lam), (~wins, np.inf)):
        expected = reference(features[rows], weight, labels[rows], m=m, lam=lam_of_rows, gradient=kind)
        np.testing.assert_allclose(loss[rows], expected.loss, rtol=1e-11)
        np.testing.assert_allclose(grad_x[rows], expected.grad_features * rows.sum(), rtol=1e-9, atol=1e-12)
    parts = [
        reference(features[rows], weight, labels[rows], m=m, lam=lam_of_rows, gradient=kind).grad_weight * rows.sum()
        for rows, lam_of_rows in ((wins, lam), (~wins, np.inf))
    ]
    np.testing.assert_allclose(grad_w, sum(parts), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lam", [0.0, torch.tensor(0.7, dtype=torch.float64)])
def test_the_logits_are_those_of_the_fused_loss(kind, lam):
    features, weight, labels = some()
    options = {"m": 4, "lam": lam, "gradient": kind}
    x, w = features.requires_grad_(), weight.requires_grad_()
    logits = lsoftmax_logits(x, w, labels, margin_on="winners", **options)
    unfused = F.cross_entropy(logits, labels)
    fused = lsoftmax_cross_entropy(x, w, labels, margin_on="winners", **options)
    pairs = [(unfused, fused), *zip(*(torch.autograd.grad(one, (x, w)) for one in (unfused, fused)), strict=True)]
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)


def test_only_the_targets_of_winners_are_touched():
    features, weight, labels = some()
    logits = lsoftmax_logits(features, weight, labels, m=4, margin_on="winners")
    touched = logits != features @ weight.T
    wins = torch.from_numpy(winning(features, weight, labels))
    assert torch.equal(touched, F.one_hot(labels, len(weight)).bool() & wins[:, None])


@pytest.mark.parametrize("way", WAYS)
def test_where_all_win_it_is_the_paper_and_where_all_lose_it_is_softmax(way):
    features, weight, labels = some()
    wins = torch.from_numpy(winning(features, weight, labels))
    rows = (features[wins], weight, labels[wins])
    torch.testing.assert_close(
        lsoftmax_cross_entropy(*rows, m=4, margin_on="winners", **way), lsoftmax_cross_entropy(*rows, m=4)
    )
    rows = (features[~wins], weight, labels[~wins])
    plain = F.cross_entropy(F.linear(*rows[:2]), rows[2])
    torch.testing.assert_close(lsoftmax_cross_entropy(*rows, m=4, margin_on="winners", **way), plain)


@pytest.mark.parametrize("way", WAYS)
def test_a_tie_is_no_win(way):
    features, weight = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 1.0], [2.0, -1.0], [0.0, 1.0]])
    loss = lsoftmax_cross_entropy(features, weight, torch.tensor([0]), m=2, margin_on="winners", **way)
    torch.testing.assert_close(loss, F.cross_entropy(features @ weight.T, torch.tensor([0])))


def test_of_one_class_all_win():
    features, weight, labels = torch.randn(3, 5), torch.randn(1, 5), torch.zeros(3, dtype=torch.int64)
    logits = [lsoftmax_logits(features, weight, labels, m=3, margin_on=rows) for rows in ("winners", "all")]
    assert torch.equal(*logits)
    assert lsoftmax_cross_entropy(features, weight, labels, m=3, margin_on="winners").item() == 0


@pytest.mark.parametrize("way", WAYS)
def test_zero_vectors_and_far_logits_stay_finite(way):
    features = torch.tensor([[0.0, 0.0], [1e18, 0.0], [1e-18, 0.0], [1e18, 1e18], [1.0, 2.0]])
    weight = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-1.0, 1e18]])
    for value in loss_and_gradients(features, weight, torch.tensor([0, 0, 1, 2, 0]), m=4, **way):
        assert value.isfinite().all()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(dtype, way):
    features, weight, labels = some(dtype=dtype)
    exact = loss_and_gradients(features.double(), weight.double(), labels, m=4, lam=1.0)
    half = loss_and_gradients(features, weight, labels, m=4, lam=1.0, **way)
    for one, other in zip(half, exact, strict=True):
        assert (one.double() - other).abs().max() <= 8 * torch.finfo(dtype).eps * other.abs().max()


@pytest.mark.parametrize("name", ["lsoftmax", "asoftmax"])
def test_criteria_put_the_margin_on_winners(name):
    features, weight, labels = some(dtype=torch.float32)
    losses = []
    for rows in ("winners", "all"):
        criterion = create(name, 6, 9, m=4, lam=0.5, margin_on=rows)
        criterion.weight.data.copy_(F.normalize(weight))
        losses.append(criterion(features, labels).item())
    expected = lsoftmax_cross_entropy(features, F.normalize(weight), labels, m=4, lam=0.5, margin_on="winners")
    assert losses[0] == pytest.approx(expected.item(), rel=1e-6) and losses[1] > losses[0]


def test_the_head_puts_the_margin_on_winners():
    features, _, labels = some(dtype=torch.float32)
    head = LSoftmaxLinear(6, 9, m=4, margin_on="winners")
    expected = lsoftmax_logits(features, head.weight, labels, m=4, margin_on="winners")
    assert torch.equal(head(features, labels), expected) and "margin_on=winners" in repr(head)


@pytest.mark.parametrize("wrong", ["", "Winners", "losers", None, 1])
@pytest.mark.parametrize(
    "take",
    [
        lambda rows: lsoftmax_logits(*some(), m=4, margin_on=rows),
        lambda rows: lsoftmax_cross_entropy(*some(), m=4, margin_on=rows),
        lambda rows: LSoftmaxLinear(6, 9, margin_on=rows),
        lambda rows: LOSSES["asoftmax"](6, 9, margin_on=rows),
    ],
)
def test_another_word_raises(take, wrong):
    with pytest.raises(ValueError, match="margin_on must be all or winners, got"):
        take(wrong)
