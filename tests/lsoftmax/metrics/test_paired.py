"""The paired comparison: against an analysis of variance in numpy, where its answer is known, and what it refuses.

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


def half_width(first: np.ndarray, second: np.ndarray) -> float:
    """Of the interval, in percent: seeds and images as crossed random effects, mean squares summed one by one."""
    images = first.shape[1]
    apart = first.mean(axis=0) - second.mean(axis=0)
    by_images = sum((value - apart.mean()) ** 2 for value in apart) / (images - 1) / images
    by_seeds, luck, below = [], 0.0, 0.0
    for way in (first, second):
        seeds = len(way)
        if seeds == 1:
            continue
        rows, columns = way.mean(axis=1), way.mean(axis=0)
        by_seeds.append(sum((row - way.mean()) ** 2 for row in rows) / (seeds - 1) / seeds)
        below += by_seeds[-1] ** 2 / (seeds - 1)
        left = sum(
            (way[s, n] - rows[s] - columns[n] + way.mean()) ** 2 for s in range(seeds) for n in range(images)
        ) / ((seeds - 1) * (images - 1))
        luck += left / (seeds * images)
    variance = sum(by_seeds) + max(by_images - luck, 0)
    return 100 * variance**0.5 * (stats.t.ppf(0.975, variance**2 / below) if below else stats.norm.ppf(0.975))


@pytest.fixture(params=[(3, 3), (2, 5), (1, 1)], ids="{0[0]} against {0[1]} seeds".format)
def pair(request) -> tuple[Tensor, Tensor]:
    """Two ways of 20 and 12 percent error on the same 300 images."""
    return errors(request.param[0], 300, 0.20), errors(request.param[1], 300, 0.12)


def test_the_difference_is_that_of_the_mean_errors(pair):
    first, second = (part.numpy().mean() for part in pair)
    assert paired_difference(*pair).difference == pytest.approx(100 * (first - second), abs=1e-12)


def test_the_interval_is_that_of_crossed_random_effects(pair):
    expected, found = half_width(*(way.double().numpy() for way in pair)), paired_difference(*pair)
    assert found.high - found.difference == pytest.approx(expected, rel=5e-3)  # 300 / 299, and t to 0.2 %


def test_the_interval_lies_around_the_difference(pair):
    found = paired_difference(*pair)
    assert found.low < found.difference < found.high


def test_the_other_order_turns_the_signs(pair):
    there, back = paired_difference(*pair), paired_difference(*reversed(pair))
    assert back.difference == pytest.approx(-there.difference, abs=1e-12)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-9)


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


@pytest.mark.parametrize("apart", [0.0, 0.15], ids=["seeds alike", "seeds apart"])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_of_few_seeds_holds_what_it_promises(seeds, apart):
    """Of two ways that are the same on the whole, not on each image: 95 % of the intervals hold 0."""
    trials, held = 300, 0
    for _ in range(trials):
        hard = 2 * torch.randn(500) - 1.2
        first, second = (
            torch.rand(seeds, 500) < torch.sigmoid(hard + 0.3 * torch.randn(500) + apart * torch.randn(seeds, 1))
            for _ in range(2)
        )
        found = paired_difference(first, second)
        held += found.low <= 0 <= found.high
    assert abs(held / trials - 0.95) < 3.5 * (0.95 * 0.05 / trials) ** 0.5


@pytest.fixture
def parts() -> tuple[Tensor, Tensor]:
    """Two ways on the same five sets of training images, each of which is harder or easier for both."""
    rates = torch.linspace(0.1, 0.3, 5)[:, None]
    return torch.rand(5, 400) < rates, torch.rand(5, 400) < 0.8 * rates


def test_of_matched_runs_it_is_the_difference_that_varies(parts):
    first, second = (way.double().numpy() for way in parts)
    expected, found = half_width(first - second, np.zeros((1, 400))), paired_difference(*parts, matched=True)
    assert found.high - found.difference == pytest.approx(expected, rel=5e-3)
    apart = paired_difference(*parts)
    assert found.difference == apart.difference and found.high - found.low < 0.6 * (apart.high - apart.low)


@pytest.mark.parametrize("runs", [3, 8])
def test_the_interval_of_matched_runs_holds_what_it_promises(runs):
    """The two ways are the same on the whole; a run's training images and the test image matter to both and to each."""
    trials, held = 300, 0
    for _ in range(trials):
        common = 2 * torch.randn(500) - 1.2 + 0.3 * torch.randn(runs, 1)
        first, second = (
            torch.rand(runs, 500) < torch.sigmoid(common + 0.3 * torch.randn(500) + 0.1 * torch.randn(runs, 1))
            for _ in range(2)
        )
        found = paired_difference(first, second, matched=True)
        held += found.low <= 0 <= found.high
    assert abs(held / trials - 0.95) < 3.5 * (0.95 * 0.05 / trials) ** 0.5


def test_matched_runs_that_are_not_as_many_are_refused():
    with pytest.raises(ValueError, match="as many of either way, got 3 and 2"):
        paired_difference(torch.zeros(3, 5), torch.zeros(2, 5), matched=True)


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


def test_of_groups_of_one_size_the_interval_is_that_of_their_shares(people):
    shares = [way.double() / 4 for way in (errors(3, 100, 0.4) * 2.0, errors(2, 100, 0.2) * 3.0)]
    found = paired_difference(*(4 * share for share in shares), sizes=torch.full((100,), 4))
    assert found.high - found.difference == pytest.approx(half_width(*(s.numpy() for s in shares)), rel=0.01)


def test_the_interval_of_groups_holds_what_it_promises():
    """Each person has a rate of being missed, the same for both ways, and each image its luck."""
    trials, held = 300, 0
    for _ in range(trials):
        sizes = torch.randint(1, 9, (150,))
        rates = torch.rand(150).expand(3, 150)
        first, second = (torch.distributions.Binomial(sizes, rates).sample() for _ in range(2))
        found = paired_difference(first, second, sizes=sizes)
        held += found.low <= 0 <= found.high
    assert abs(held / trials - 0.95) < 3.5 * (0.95 * 0.05 / trials) ** 0.5


def test_images_that_are_wrong_together_make_the_interval_wider(people):
    first, second, sizes = people[0][:1], people[1][:1], people[2]
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


@pytest.mark.parametrize(
    ("first", "second"),
    [((2, 5), (2, 6)), ((5,), (5,)), ((2, 5), (5,)), ((0, 5), (2, 5)), ((2, 0), (2, 0)), ((1, 2, 5), (1, 2, 5))],
    ids=str,
)
def test_other_shapes_are_refused_by_their_sizes(first, second):
    with pytest.raises(ValueError, match="same images") as said:
        paired_difference(torch.zeros(first, dtype=torch.bool), torch.zeros(second, dtype=torch.bool))
    assert str(first) in str(said.value) and str(second) in str(said.value)
