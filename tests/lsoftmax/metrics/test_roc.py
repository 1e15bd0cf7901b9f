"""The ROC curve and what is read off it, against the definitions and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from lsoftmax.engine.verification import describe
from lsoftmax.metrics import verify_at
from lsoftmax.metrics.roc import allowed, roc, thinned

from .conftest import quietly, random_case


@pytest.mark.parametrize("seed", range(100))
def test_the_curve_and_its_area_are_scikit_learns(seed):
    scores, same = random_case(seed)
    curve = roc(torch.tensor(scores), torch.tensor(same))
    far, tar, thresholds = roc_curve(same, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.far, far)
    np.testing.assert_allclose(curve.tar, tar)
    # It accepts from a score on, we accept above a score: its threshold is our next higher one.
    np.testing.assert_array_equal(curve.thresholds[:-1], thresholds[1:])
    assert curve.auc == pytest.approx(roc_auc_score(same, scores))


@pytest.mark.parametrize("seed", range(100))
def test_tar_at_far_is_that_of_the_definition(seed):
    scores, same = random_case(seed)
    impostors, genuine = scores[~same], scores[same]
    for limit in (0.01, 0.1, 0.25, 0.5, 1.0):
        tar, realised = quietly(scores, same, folds=2, far=(limit,)).tar_at_far[limit]
        allowed_thresholds = [t for t in [*scores, -np.inf] if np.mean(impostors > t) <= limit]
        lowest = min(allowed_thresholds)
        assert tar == pytest.approx(np.mean(genuine > lowest))
        assert realised == pytest.approx(np.mean(impostors > lowest))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("points", [1, 7, 200])
def test_a_thinned_curve_has_the_highest_rate_at_each_of_its_far(seed, points):
    scores, same = random_case(seed)
    impostors, genuine = scores[~same], scores[same]
    far, tar = thinned(roc(torch.tensor(scores), torch.tensor(same)), len(impostors), points)
    assert len(far) == len(tar) <= points + 1 and far[0] == 0
    assert points == 1 or far[-1] == tar[-1] == 1
    for limit, rate in zip(far.tolist(), tar.tolist(), strict=True):
        reached = [t for t in [*scores, -np.inf] if np.mean(impostors > t) <= limit + 1e-12]
        assert rate == pytest.approx(np.mean(genuine > min(reached)) if reached else 0)


@pytest.mark.parametrize("seed", range(100))
def test_the_equal_error_rate_lies_on_the_curve_where_both_errors_are_equal(seed):
    scores, same = random_case(seed)
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    eer = quietly(scores, same, folds=2).eer
    # The curve, finely walked: the point whose two errors are nearest.
    walk = np.linspace(0, 1, 2001)[:, None]
    false_accepts, true_accepts = (values[:-1] + walk * np.diff(values) for values in (far, tar))
    nearest = np.unravel_index(np.abs(false_accepts + true_accepts - 1).argmin(), false_accepts.shape)
    assert eer == pytest.approx(false_accepts[nearest], abs=1e-3)


@pytest.mark.parametrize("rising", [np.exp, np.arctan, lambda x: x**3, lambda x: 2 * x - 7])
def test_a_rising_function_of_the_scores_leaves_the_curve(rising):
    scores, same = random_case(1, pairs=90)
    one, other = quietly(scores, same, folds=3), quietly(rising(scores), same, folds=3)
    assert (one.auc, one.eer, one.tar_at_far) == (other.auc, other.eer, other.tar_at_far)


@pytest.mark.parametrize(
    ("limit", "impostors", "count"),
    [(0.29, 100, 29), (0.1, 30, 3), (1e-6, 3_530_000_000, 3530), (1e-3, 999, 0), (1.0, 7, 7), (0.7, 10, 7)],
)
def test_allowed_counts_do_not_suffer_from_rounding(limit, impostors, count):
    assert allowed(limit, impostors) == count


@pytest.mark.parametrize(("kind", "word"), [(True, "matched"), (False, "mismatched")])
def test_pairs_of_one_kind_alone_have_no_curve_and_the_message_says_of_which(kind, word):
    with pytest.raises(ValueError, match=f"all 3 pairs are {word}: a ROC needs both kinds"):
        roc(torch.arange(3.0).double(), torch.full((3,), kind))


def test_the_curve_of_a_record_has_the_false_accept_rates_of_its_impostors():
    same = torch.tensor([True] * 8 + [False] * 4)
    assert describe(verify_at(torch.linspace(1, -1, 12), same, 0.0))["roc"]["far"] == [0, 0.25, 0.5, 0.75, 1]
