"""The paired bootstrap: against a plain one in numpy, where its answer is known, and what it refuses.

Legend: S seeds, N test images; True where the image is misclassified.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from lsoftmax.metrics import PairedDifference, paired_difference


def errors(seeds: int, images: int, rate: float) -> Tensor:
    """Half of what is wrong is wrong for every seed, as with hard images; the rest is each seed's own."""
    hard = torch.rand(images) < rate / 2
    return hard | (torch.rand(seeds, images) < rate / 2)


def plain_bootstrap(first: Tensor, second: Tensor, resamples: int) -> np.ndarray:
    """(resamples,) differences in percent, image by image and seed by seed, from numpy's own generator."""
    rng, (a, b) = np.random.default_rng(7), (first.numpy(), second.numpy())
    found = []
    for _ in range(resamples):
        images = rng.choice(a.shape[1], a.shape[1])
        one = np.concatenate([a[seed, images] for seed in rng.choice(len(a), len(a))])
        two = np.concatenate([b[seed, images] for seed in rng.choice(len(b), len(b))])
        found.append(100 * (one.mean() - two.mean()))
    return np.array(found)


@pytest.fixture(params=[(3, 3), (2, 5), (1, 1)], ids="{0[0]} against {0[1]} seeds".format)
def pair(request) -> tuple[Tensor, Tensor]:
    """Two ways of 20 and 12 percent error on the same 300 images."""
    return errors(request.param[0], 300, 0.20), errors(request.param[1], 300, 0.12)


def test_the_difference_is_that_of_the_mean_errors(pair):
    first, second = (part.numpy().mean() for part in pair)
    assert paired_difference(*pair).difference == pytest.approx(100 * (first - second), abs=1e-12)


def test_the_interval_is_that_of_a_plain_bootstrap(pair):
    drawn, found = plain_bootstrap(*pair, 4000), paired_difference(*pair)
    # A 2.5 % quantile of R draws has the deviation sqrt(.025 * .975 / R) / density = 2.67 sigma / sqrt(R) for a normal
    # distribution: 0.073 sigma for our 2,000 and 4,000 together; four of them.
    within = 4 * 0.073 * drawn.std()
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist(), abs=within)


def test_the_interval_lies_around_the_difference(pair):
    found = paired_difference(*pair)
    assert found.low < found.difference < found.high


def test_the_other_order_turns_the_signs(pair):
    there, back = paired_difference(*pair), paired_difference(*reversed(pair))
    width = there.high - there.low  # 3.9 sigma; the ends wander by 0.06 sigma each
    assert back.difference == pytest.approx(-there.difference, abs=1e-12)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=0.1 * width)


def test_identical_ways_differ_by_0_with_a_symmetric_interval():
    way = errors(3, 400, 0.2)
    found = paired_difference(way, way)
    assert found.difference == 0 and found.low < 0 < found.high
    assert found.low == pytest.approx(-found.high, abs=0.1 * (found.high - found.low))


def test_one_seed_against_itself_has_no_width():
    way = errors(1, 400, 0.2)  # the images are drawn once for both ways, and there is no other seed
    assert paired_difference(way, way) == PairedDifference(0, 0, 0)


def test_all_wrong_against_all_right_is_100_without_width():
    wrong, right = torch.ones(2, 50, dtype=torch.bool), torch.zeros(3, 50, dtype=torch.bool)
    assert paired_difference(wrong, right) == PairedDifference(100, 100, 100)


def test_the_same_images_for_both_make_the_interval_narrower():
    hard = torch.rand(1, 1000) < 0.3
    better = hard & (torch.rand(1, 1000) < 0.9)  # wrong on the same images, but for some
    elsewhere = better[:, torch.randperm(1000)]
    paired, unpaired = paired_difference(hard, better), paired_difference(hard, elsewhere)
    assert paired.high - paired.low < 0.5 * (unpaired.high - unpaired.low)


def test_seeds_that_differ_make_the_interval_wider():
    calm = torch.zeros(2, 200, dtype=torch.bool)
    calm[:, :40] = True
    apart = torch.zeros(2, 200, dtype=torch.bool)
    apart[0, :80] = True  # the same mean error, all of it one seed's
    widths = [found.high - found.low for found in (paired_difference(calm, way) for way in (calm, apart))]
    assert widths[1] > widths[0] + 20


def test_the_order_of_the_seeds_is_nothing_to_the_difference():
    first, second = errors(4, 200, 0.2), errors(4, 200, 0.1)
    swapped = paired_difference(first, second[[3, 1, 0, 2]])
    assert swapped.difference == pytest.approx(paired_difference(first, second).difference, abs=1e-12)


def test_the_same_seed_gives_the_same_interval(pair):
    assert paired_difference(*pair, seed=3) == paired_difference(*pair, seed=3)


def test_another_seed_moves_the_interval_alone():
    pair = errors(3, 300, 0.2), errors(3, 300, 0.1)
    one, other = paired_difference(*pair, seed=0), paired_difference(*pair, seed=1)
    assert one.difference == other.difference and one.low != other.low


def test_torchs_own_generator_is_left_alone(pair):
    before = torch.random.get_rng_state()
    paired_difference(*pair, resamples=10)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("first", "second"),
    [((2, 5), (2, 6)), ((5,), (5,)), ((2, 5), (5,)), ((0, 5), (2, 5)), ((2, 0), (2, 0)), ((1, 2, 5), (1, 2, 5))],
    ids=str,
)
def test_other_shapes_are_refused_by_their_sizes(first, second):
    with pytest.raises(ValueError, match="same images") as said:
        paired_difference(torch.zeros(first, dtype=torch.bool), torch.zeros(second, dtype=torch.bool))
    assert str(first) in str(said.value) and str(second) in str(said.value)
