"""verify_pairs against plain loops written from the definitions, and against scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.model_selection import KFold

from lsoftmax.metrics import FoldWarning, best_threshold, verify_at, verify_pairs
from lsoftmax.metrics.folds import fold_ids

from .conftest import quietly, random_case


def plain_threshold(scores, same):
    """Every gap tried in turn, then the rule for plateaus: written for reading."""
    distinct = sorted(set(scores))
    if len(distinct) == 1:
        low = high = max(1.0, abs(distinct[0]))
    else:
        low, high = distinct[1] - distinct[0], distinct[-1] - distinct[-2]
    edges = [distinct[0] - low, *distinct, distinct[-1] + high]
    gaps = list(zip(edges[:-1], edges[1:], strict=True))
    right = [sum((score >= upper) == label for score, label in zip(scores, same, strict=True)) for _, upper in gaps]
    best = [index for index in range(len(gaps)) if right[index] == max(right)]
    runs = []
    for index in best:
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    spans = [(gaps[run[0]][0], gaps[run[-1]][1]) for run in runs]
    centre = np.median([(gaps[index][0] + gaps[index][1]) / 2 for index in best])
    widest = max(high - low for low, high in spans)
    spans = [span for span in spans if span[1] - span[0] == widest]
    low, high = min(spans, key=lambda span: (abs((span[0] + span[1]) / 2 - centre), span[0]))
    return (low + high) / 2


@pytest.mark.parametrize("seed", range(300))
def test_the_threshold_is_that_of_the_plain_search(seed):
    scores, same = random_case(seed)
    assert best_threshold(scores, same) == pytest.approx(plain_threshold(scores.tolist(), same.tolist()), abs=1e-12)


@pytest.mark.parametrize("seed", range(60))
def test_no_threshold_at_all_decides_more_pairs_rightly(seed):
    scores, same = random_case(seed)
    threshold = best_threshold(scores, same)
    candidates = np.concatenate([scores, [-np.inf]])
    most = max(((scores > candidate) == same).sum() for candidate in candidates)
    assert ((scores > threshold) == same).sum() == most


@pytest.mark.parametrize("seed", range(100))
def test_folds_accuracy_and_errors_are_those_of_plain_loops_over_kfold(seed):
    rng = np.random.default_rng(seed)
    scores, same = random_case(seed, pairs=int(rng.integers(80, 120)))
    folds = int(rng.integers(2, 5))
    found = quietly(scores, same, folds=folds)
    thresholds, accuracies = [], []
    for train, test in KFold(folds).split(scores):
        thresholds.append(plain_threshold(scores[train].tolist(), same[train].tolist()))
        accuracies.append(np.mean((scores[test] > thresholds[-1]) == same[test]))
    assert found.thresholds == pytest.approx(thresholds, abs=1e-12)
    assert found.fold_accuracies == pytest.approx(accuracies)
    assert found.accuracy == pytest.approx(np.mean(accuracies))
    assert found.std == pytest.approx(np.std(accuracies, ddof=1))
    assert found.standard_error == pytest.approx(np.std(accuracies, ddof=1) / math.sqrt(folds))


@pytest.mark.parametrize("seed", range(20))
def test_it_is_known_which_pairs_were_of_one_person(seed):
    scores, same = random_case(seed)
    assert quietly(scores, same, folds=2).same.tolist() == same.tolist()


def test_separable_scores_are_all_right():
    scores, same = [0.9, 0.1] * 20, [1, 0] * 20
    found = verify_pairs(scores, same)
    assert (found.accuracy, found.auc, found.eer, found.standard_error) == (1, 1, 0, 0)
    assert found.thresholds == (0.5,) * 10
    assert found.tar_at_far[0.1] == (1.0, 0.0)


def test_scores_all_equal_are_a_coin():
    found = verify_pairs([0.25] * 40, [1, 0] * 20)
    assert (found.accuracy, found.auc, found.eer) == (0.5, 0.5, 0.5)
    assert found.tar_at_far[0.1] == (0.0, 0.0)


@pytest.mark.parametrize(
    ("scores", "same", "threshold"),
    [
        ([3, 1], [1, 0], 2),  # a plain gap
        ([4, 3, 1, 0], [1, 0, 1, 0], 0.5),  # 4|3 and 1|0 are as good, as wide, as near their median: the lower
        ([1, 2, 3], [0, 0, 0], 3.5),  # reject all: an end as wide as its neighbour
        ([1, 2, 4], [1, 1, 1], 0.5),  # accept all
        ([5, 5], [1, 0], 5),  # all equal, both ends equally good: one run around
        ([6, 4, 4, 0], [1, 1, 0, 0], 3),  # 6|4 and 4|0 are as good and neighbours: one run, 0..6
    ],
)
def test_thresholds_of_small_cases(scores, same, threshold):
    assert best_threshold(scores, same) == threshold


def test_of_separate_runs_the_widest_is_taken():
    # As good: 10|8, two wide, and 2|1, one wide.
    assert best_threshold([10, 8, 2, 1], [1, 0, 1, 0]) == 9


def test_a_midpoint_that_rounds_to_the_upper_score_gives_way_to_the_lower():
    upper = 1.0
    lower = math.nextafter(upper, 0)
    threshold = best_threshold([upper, lower], [1, 0])
    assert lower <= threshold < upper


def test_the_order_of_the_pairs_within_folds_does_not_matter():
    scores, same = random_case(7, pairs=90)
    ids = np.arange(90) % 3
    order = np.random.default_rng(0).permutation(90)
    one, other = quietly(scores, same, folds=ids), quietly(scores[order], same[order], folds=ids[order])
    assert one.thresholds == other.thresholds and one.fold_accuracies == other.fold_accuracies
    assert (one.auc, one.eer, one.tar_at_far) == (other.auc, other.eer, other.tar_at_far)


@pytest.mark.parametrize("factor", [2.0**-30, 0.5, 4.0, 2.0**40])
def test_a_change_of_scale_changes_nothing_but_the_thresholds(factor):
    scores, same = random_case(5, pairs=90)
    one, other = quietly(scores, same, folds=3), quietly(scores * factor, same, folds=3)
    assert other.thresholds == tuple(factor * threshold for threshold in one.thresholds)
    assert (one.fold_accuracies, one.auc, one.eer, one.tar_at_far) == (
        other.fold_accuracies,
        other.auc,
        other.eer,
        other.tar_at_far,
    )


def test_the_pairs_of_a_fold_have_no_say_in_its_threshold():
    scores, same = random_case(2, pairs=100)
    changed = scores.copy()
    changed[:10] = np.where(same[:10], -50, 50)
    assert quietly(scores, same).thresholds[0] == quietly(changed, same).thresholds[0]
    assert quietly(changed, same).fold_accuracies[0] == 0


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor, lambda x: np.array(x, np.float32)])
def test_lists_arrays_and_tensors_are_taken(kind):
    assert verify_pairs(kind([0.75, 0.25] * 20), kind([1, 0] * 20)).accuracy == 1


def test_scores_of_a_graph_leave_it_behind():
    scores, same = torch.randn(40, dtype=torch.float64, requires_grad=True), torch.arange(40) % 2
    found = verify_pairs(scores, same)
    assert not found.scores.requires_grad and found.accuracy == verify_pairs(scores.detach(), same).accuracy


def test_python_numbers_keep_their_precision():
    assert best_threshold([0.9, 0.1], [1, 0]) == 0.5


def test_a_read_only_array_is_taken_without_a_warning():
    scores = np.array([0.75, 0.25] * 20)
    scores.setflags(write=False)
    assert verify_pairs(scores, [1, 0] * 20).accuracy == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_an_error_that_names_the_pair(bad):
    scores = [0.5] * 40
    scores[17] = bad
    with pytest.raises(ValueError, match=f"pair 17 is {bad}"):
        verify_pairs(scores, [1, 0] * 20)


@pytest.mark.parametrize(
    ("scores", "same", "options", "part"),
    [
        ([], [], {}, "at least one pair"),
        ([1, 2], [1], {}, "must both be"),
        ([[1, 2]], [1, 0], {}, "must both be"),
        ([1, 2], [1, 2], {"folds": 2}, "same holds 2 for pair 1"),
        ([1.0] * 4, [1, 0, 1, 0], {"folds": 1}, "folds must lie in 2..4"),
        ([1.0] * 4, [1, 0, 1, 0], {"folds": 5}, "folds must lie in 2..4"),
        ([1.0] * 4, [1, 0, 1, 0], {"folds": [0, 0, 0, 0]}, "single fold"),
        ([1.0] * 4, [1, 0, 1, 0], {"folds": [0, 1]}, "folds must be a count"),
        ([1.0] * 4, [1, 0, 1, 0], {"folds": [0.0, 1, 0, 1]}, "folds must be a count"),
        ([1.0] * 4, [1, 1, 0, 0], {"folds": 2}, "fold 0 holds matched pairs only"),
        ([1.0] * 4, [1, 0, 0, 0], {"folds": 2}, "fold 1 holds mismatched pairs only"),
        ([1.0] * 4, [1, 0, 1, 0], {"folds": 2, "far": [0]}, "far must lie in"),
        ([1.0] * 4, [1, 0, 1, 0], {"folds": 2, "far": [1.5]}, "far must lie in"),
    ],
)
def test_wrong_input_is_named(scores, same, options, part):
    with pytest.raises(ValueError, match=part):
        verify_pairs(scores, same, **options)


def test_uneven_folds_of_even_pairs_are_warned_of():
    same = np.array([1] * 18 + [0] * 2 + [1] * 2 + [0] * 18)
    with pytest.warns(FoldWarning, match="90 % of the pairs of fold 0"):
        verify_pairs(same + 0.0, same, folds=2)


@pytest.mark.parametrize("matched", [[200] * 10, [450, 550] * 5], ids=["few", "45 or 55 percent"])
def test_few_matched_pairs_everywhere_and_folds_within_40_to_60_percent_are_not_warned_of(matched):
    fold_ids(10, torch.cat([torch.arange(1000) < count for count in matched]))


def test_the_fold_that_is_beyond_chance_is_named_not_a_small_one_within():
    fold = np.repeat([0, 1, 2], [1000, 10, 1000])
    same = np.concatenate([np.arange(1000) < 700, np.arange(10) < 9, np.arange(1000) < 300]).astype(int)
    with pytest.warns(FoldWarning, match="(70|30) % of the pairs of fold (0|2)"):
        verify_pairs(same + 0.0, same, folds=fold)


def test_a_scatter_beyond_chance_is_warned_of():
    same = np.tile([1, 0], 300)
    scores = same.astype(float)
    scores[:60] = np.random.default_rng(0).random(60)  # one of ten folds is noise
    with pytest.warns(FoldWarning, match="scatter"):
        verify_pairs(scores, same)


def test_the_scatter_of_chance_is_not_warned_of():
    same = np.tile([1, 0], 300)
    for seed in range(50):  # a warning is an error here
        verify_pairs(np.random.default_rng(seed).normal(size=600) + same, same)


@pytest.mark.parametrize(("pairs", "folds"), [(10, 2), (11, 3), (6000, 10), (7, 7), (101, 10)])
def test_a_count_deals_the_folds_of_kfold(pairs, folds):
    same = torch.arange(pairs) % 2 == 0
    expected = np.empty(pairs, int)
    for fold, (_, test) in enumerate(KFold(folds).split(np.zeros(pairs))):
        expected[test] = fold
    try:
        assert fold_ids(folds, same).tolist() == expected.tolist()
    except ValueError:  # one pair in a fold: of one kind
        assert pairs == folds


def test_any_integers_name_folds():
    found = verify_pairs([1, 0] * 20, [1, 0] * 20, folds=np.repeat([7, -3], 20))
    assert len(found.thresholds) == 2


def test_a_set_judged_at_a_given_threshold():
    found = verify_at([0.9, 0.6, 0.4, 0.1], [1, 1, 1, 0], 0.5)
    assert found.accuracy == 0.75 and found.thresholds == (0.5,) and found.fold_accuracies == (0.75,)
    assert found.standard_error == pytest.approx(math.sqrt(0.75 * 0.25 / 4)) and math.isnan(found.std)
    assert found.correct.tolist() == [True, True, False, True] and found.auc == 1


def test_a_score_at_the_threshold_is_rejected():
    assert verify_at([0.5, 0.5], [1, 0], 0.5).correct.tolist() == [False, True]


def test_a_threshold_that_is_nan_is_refused():
    with pytest.raises(ValueError, match="threshold is nan"):
        verify_at([0.5, 0.4], [1, 0], math.nan)


def test_arrays_of_another_byte_order_are_turned_and_wider_ones_refused():
    from lsoftmax.metrics.arrays import as_tensor

    assert as_tensor(np.array([1.5, 2], ">f4")).tolist() == [1.5, 2]
    with pytest.raises(ValueError, match="give float64"):
        as_tensor(np.ones(2, np.longdouble))


def test_accept_all_accepts_the_lowest_score_too():
    scores = [-1.0, -1 + 2**-53, 0.5]
    assert best_threshold(scores, [1, 1, 1]) < -1
