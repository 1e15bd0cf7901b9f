"""verify_embeddings: cosines, and what is fitted sees the training folds alone."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from lsoftmax.metrics import FoldWarning, best_threshold, verify_embeddings, verify_pairs


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    same = np.arange(120) % 2 == 0
    left = rng.normal(size=(120, 6)) + 3
    right = np.where(same[:, None], left + rng.normal(size=(120, 6)), rng.normal(size=(120, 6)) + 3)
    return left, right, same


def cosine(left, right):
    return (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


def test_without_a_fit_it_is_verify_pairs_on_the_cosine(pairs):
    left, right, same = pairs
    found, expected = verify_embeddings(left, right, same, folds=6), verify_pairs(cosine(left, right), same, folds=6)
    assert found.thresholds == pytest.approx(expected.thresholds)
    assert found.fold_accuracies == expected.fold_accuracies and found.auc == expected.auc


@pytest.mark.parametrize("pca", [0, 2, 3, 6])
def test_mean_and_axes_are_those_of_the_training_folds(pairs, pca):
    left, right, same = pairs
    found = verify_embeddings(left, right, same, folds=6, center=True, pca=pca)
    ids = np.repeat(np.arange(6), 20)
    scores = np.empty(120)
    for fold in range(6):
        train = np.concatenate([left[ids != fold], right[ids != fold]])
        if pca:
            fitted = PCA(pca, svd_solver="full").fit(train)
            own = cosine(fitted.transform(left), fitted.transform(right))
        else:
            own = cosine(left - train.mean(0), right - train.mean(0))
        assert found.thresholds[fold] == pytest.approx(best_threshold(own[ids != fold], same[ids != fold]), abs=1e-6)
        scores[ids == fold] = own[ids == fold]
    np.testing.assert_allclose(found.scores, scores, atol=1e-9)


def test_all_axes_turn_the_space_and_change_no_cosine(pairs):
    left, right, same = pairs
    one = verify_embeddings(left, right, same, folds=6, center=True)
    other = verify_embeddings(left, right, same, folds=6, pca=6)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-9)


def test_the_pairs_of_a_fold_have_no_say_in_its_transformation(pairs):
    left, right, same = pairs
    moved = left.copy()
    moved[:20] += 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FoldWarning)
        one = verify_embeddings(left, right, same, folds=6, pca=2)
        other = verify_embeddings(moved, right, same, folds=6, pca=2)
    assert one.thresholds[0] == other.thresholds[0]
    assert one.thresholds[1] != other.thresholds[1]


def test_lengths_do_not_matter_without_a_mean(pairs):
    left, right, same = pairs
    scale = np.random.default_rng(1).uniform(1e-20, 1e20, size=(120, 1))
    one, other = verify_embeddings(left, right, same), verify_embeddings(left * scale, right, same)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-12)


def test_the_shortest_embeddings_have_a_direction(pairs):
    left, right, same = pairs
    one, other = verify_embeddings(left, right, same), verify_embeddings(left * 1e-30, right * 1e-20, same)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_of_any_kind_are_compared_in_float64(pairs, dtype):
    left, right = (torch.tensor(side).to(dtype) for side in pairs[:2])
    found = verify_embeddings(left, right, pairs[2])
    np.testing.assert_allclose(found.scores, cosine(left.double().numpy(), right.double().numpy()), atol=1e-12)


@pytest.mark.parametrize(("value", "part"), [(0.0, "row 5 of right is all zero"), (np.nan, "row 5 of right is not f")])
def test_a_row_without_a_direction_is_named(pairs, value, part):
    left, right, same = pairs
    right[5] = value
    with pytest.raises(ValueError, match=part):
        verify_embeddings(left, right, same)


@pytest.mark.parametrize("pca", [-1, 7])
def test_axes_that_do_not_exist_are_refused(pairs, pca):
    with pytest.raises(ValueError, match="pca must lie in 0..6"):
        verify_embeddings(*pairs, pca=pca)


def test_shapes_that_do_not_fit_are_refused(pairs):
    left, right, same = pairs
    for one, other in ((left[:-1], right), (left, right[:, :-1]), (left[:-1], right[:-1]), (left[0], right)):
        with pytest.raises(ValueError, match="must"):
            verify_embeddings(one, other, same)
    with pytest.raises(ValueError, match="floats"):
        verify_embeddings(left.astype(int), right, same)
