"""The paired bootstrap: against a plain one in numpy, where its answer is known, and what it refuses.

Legend: S seeds, N test images; True where the image is misclassified.
"""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from lsoftmax.metrics import PairedDifference, paired_difference
from lsoftmax.metrics.paired import students_t


def errors(seeds: int, images: int, rate: float) -> Tensor:
    """Half of what is wrong is wrong for every seed, as with hard images; the rest is each seed's own."""
    hard = torch.rand(images) < rate / 2
    return hard | (torch.rand(seeds, images) < rate / 2)


def plain_bootstrap(first: Tensor, second: Tensor, resamples: int) -> np.ndarray:
    """(resamples,) differences in percent, image by image and seed by seed, from numpy's own generator.

    What drawing seeds moves is widened by sqrt(S / (S - 1)), and everything by scipy's t over the normal quantile.
    """
    rng, ways = np.random.default_rng(7), (first.numpy(), second.numpy())

    def draw(way: np.ndarray, images: np.ndarray) -> float:
        of_all = way[:, images].mean()
        of_drawn = np.concatenate([way[seed, images] for seed in rng.choice(len(way), len(way))]).mean()
        return of_all + (of_drawn - of_all) * (len(way) / max(len(way) - 1, 1)) ** 0.5

    found = []
    for _ in range(resamples):
        images = rng.choice(first.shape[1], first.shape[1])
        found.append(100 * (draw(ways[0], images) - draw(ways[1], images)))
    off = 100 * (ways[0].mean() - ways[1].mean())
    return off + (np.array(found) - off) * stats.t.ppf(0.975, welch(*ways)) / stats.norm.ppf(0.975)


def welch(first: np.ndarray, second: np.ndarray) -> float:
    """Degrees of freedom of a sum of variances: of the images' mean, of either way's seeds."""
    images = (first.mean(axis=0) - second.mean(axis=0)).var() / first.shape[1]
    seeds = [way.mean(axis=1).var(ddof=1) / len(way) if len(way) > 1 else 0 for way in (first, second)]
    below = sum(v**2 / (len(way) - 1) for v, way in zip(seeds, (first, second), strict=True) if v)
    return (images + sum(seeds)) ** 2 / below if below else np.inf


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


@pytest.mark.parametrize("degrees", [1, 1.5, 2, 3.7, 8, 60, 1000, np.inf])
def test_students_t_is_scipys(degrees):
    assert students_t(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=2e-3)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_of_few_seeds_holds_what_it_promises(seeds):
    """Of two ways that are the same, each seed a little better or worse than the last, 95 % of the intervals hold 0."""
    hard = torch.linspace(-6, 2, 500)
    trials, held = 200, 0
    for trial in range(trials):
        images = hard[torch.randint(500, (500,))]
        first, second = (torch.rand(seeds, 500) < torch.sigmoid(images + 0.2 * torch.randn(seeds, 1)) for _ in range(2))
        found = paired_difference(first, second, resamples=200, seed=trial)
        held += found.low <= 0 <= found.high
    assert held / trials > 0.95 - 3 * (0.95 * 0.05 / trials) ** 0.5


@pytest.fixture
def people() -> tuple[Tensor, Tensor, Tensor]:
    """100 people with 1 to 6 images each, all of a person's wrong or all right: (3, 100), (2, 100) counts, sizes."""
    sizes = torch.randint(1, 7, (100,))
    return errors(3, 100, 0.4) * sizes, errors(2, 100, 0.2) * sizes, sizes


def test_of_groups_the_difference_is_that_of_all_their_images(people):
    first, second, sizes = people
    each = [way.repeat_interleave(sizes, dim=1) > 0 for way in (first, second)]
    expected = 100 * (each[0].double().mean() - each[1].double().mean())
    assert paired_difference(first, second, sizes=sizes).difference == pytest.approx(float(expected), abs=1e-12)


def test_of_groups_the_interval_is_that_of_a_bootstrap_over_them(people):
    first, second, sizes = (part.numpy() for part in people)
    rng, found = np.random.default_rng(7), []
    for _ in range(4000):
        drawn = rng.choice(100, 100)
        ways = []
        for way in (first, second):
            rates = way[:, drawn].sum(axis=1) / sizes[drawn].sum()
            mean = rates.mean()
            ways.append(mean + (rng.choice(rates, len(way)).mean() - mean) * (len(way) / (len(way) - 1)) ** 0.5)
        found.append(100 * (ways[0] - ways[1]))
    found, ours = np.array(found), paired_difference(*people[:2], sizes=people[2])
    # Student's t widens ours; what a ratio's variance over groups gives it for degrees of freedom is between 1 and inf.
    wide = (np.quantile(found, [0.025, 0.975]) - ours.difference) * [[1.0], [1.15]]
    margin = 4 * 0.073 * found.std()
    assert wide[1, 0] - margin < ours.low - ours.difference < wide[0, 0] + margin
    assert wide[0, 1] - margin < ours.high - ours.difference < wide[1, 1] + margin


def test_images_that_are_wrong_together_make_the_interval_wider(people):
    first, second, sizes = people
    each = [way.repeat_interleave(sizes, dim=1) > 0 for way in (first, second)]
    alone, together = paired_difference(*each), paired_difference(first, second, sizes=sizes)
    assert together.high - together.low > 1.1 * (alone.high - alone.low)


def test_groups_of_one_are_images(pair):
    assert paired_difference(*pair, sizes=torch.ones(300, dtype=torch.int64)) == paired_difference(*pair)


@pytest.mark.parametrize("sizes", [torch.ones(4), torch.tensor([1, 1, 0, 1, 1]), torch.ones(5, 1)], ids=str)
def test_sizes_that_do_not_fit_are_refused(sizes):
    with pytest.raises(ValueError, match=r"sizes must be \(5,\) and > 0"):
        paired_difference(torch.zeros(2, 5), torch.zeros(2, 5), sizes=sizes)


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
