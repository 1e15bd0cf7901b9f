"""Balanced parts of a set."""

import itertools

import pytest
import torch

from data.mixing import generator_seed, key_of, splitmix64
from data.split import balanced_mask, balanced_quotas

LABELS = torch.arange(1_000) % 10


@pytest.mark.parametrize(
    ("sizes", "count", "quotas"),
    [
        ([5, 5, 5], 6, [2, 2, 2]),
        ([5, 5, 5], 7, [3, 2, 2]),
        ([1, 5, 5], 9, [1, 4, 4]),
        ([1, 2, 9], 10, [1, 2, 7]),
        ([1, 11, 100], 30, [1, 11, 18]),  # the second has room for one of the five that are its second share
        ([1, 5, 5], 5, [1, 2, 2]),
        ([0, 3], 3, [0, 3]),
        ([4, 4], 0, [0, 0]),
        ([4, 4], 8, [4, 4]),
    ],
)
def test_quotas_are_as_equal_as_sizes_allow(sizes: list[int], count: int, quotas: list[int]) -> None:
    assert balanced_quotas(sizes, count) == quotas


def test_quotas_are_equal_but_for_one_wherever_there_is_room() -> None:
    for sizes in itertools.product(range(5), repeat=4):
        before = [0] * 4
        for count in range(sum(sizes) + 1):
            quotas = balanced_quotas(list(sizes), count)
            assert sum(quotas) == count and all(q >= b for q, b in zip(quotas, before, strict=True))
            assert all(q >= max(quotas) - 1 for q, size in zip(quotas, sizes, strict=True) if q < size)
            before = quotas


def test_a_part_is_balanced() -> None:
    assert LABELS[balanced_mask(LABELS, 10, 250, purpose="test")].bincount().tolist() == [25] * 10


def test_a_part_is_the_same_every_time_and_another_for_another_purpose() -> None:
    first = balanced_mask(LABELS, 10, 100, purpose="validation")
    assert torch.equal(first, balanced_mask(LABELS, 10, 100, purpose="validation"))
    assert not torch.equal(first, balanced_mask(LABELS, 10, 100, purpose="train_images"))
    assert first.nonzero().flatten()[:8].tolist() == [3, 10, 28, 45, 46, 54, 60, 81]


def test_a_smaller_part_lies_inside_a_larger_one() -> None:
    small, large = (balanced_mask(LABELS, 10, count, purpose="test") for count in (100, 300))
    assert bool((large | ~small).all())


def test_a_part_does_not_depend_on_torch_s_random_state() -> None:
    torch.manual_seed(1)
    first = balanced_mask(LABELS, 10, 100, purpose="test")
    torch.manual_seed(2)
    assert torch.equal(first, balanced_mask(LABELS, 10, 100, purpose="test"))


def test_splitmix64_matches_its_published_sequence() -> None:
    # Vigna's splitmix64.c from state 1234567; a step adds 0x9e3779b97f4a7c15 to the state.
    states = [(1234567 + step * 0x9E3779B97F4A7C15) % 2**64 for step in range(3)]
    assert [splitmix64(state) for state in states] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_no_two_steps_share_the_32_bits_that_torch_s_cpu_generator_takes() -> None:
    key = key_of("augment", 0)
    assert len({generator_seed(key, step) & 0xFFFF_FFFF for step in range(200_000)}) == 200_000


def test_seeds_and_purposes_do_not_meet() -> None:
    keys = [key_of(purpose, seed) for purpose in ("order", "augment") for seed in range(20)]
    seeds = {generator_seed(key, index) for key in keys for index in range(1_000)}
    assert len(seeds) == 40_000
    assert max(seeds) < 2**64


def test_torch_s_cpu_generator_takes_32_bits_of_its_seed() -> None:
    # Why generator_seed goes to that length; if torch ever takes all 64, this may go.
    low, high = (torch.rand(4, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5 + 2**32))
    assert torch.equal(low, high)
