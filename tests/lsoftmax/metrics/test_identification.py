"""identify against plain loops written from the protocol's definition."""

import math

import numpy as np
import pytest
import torch

from lsoftmax.metrics import identify
from lsoftmax.metrics import ranks as ranks_module
from lsoftmax.metrics.topk import RunningTop


def unit(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def plain(probes, ids, distractors):
    """Trial by trial: ranks, tied trials, genuine scores, impostor scores. Equal up to rounding is equal."""
    probes, distractors = unit(probes), unit(distractors)
    ranks, ties, genuine = [], 0, []
    for p in range(len(probes)):
        impostors = distractors @ probes[p]
        for g in range(len(probes)):
            if g == p or ids[g] != ids[p]:
                continue
            score = probes[g] @ probes[p]
            ties += bool((np.abs(impostors - score) < 1e-12).any())
            ranks.append(1 + int((impostors > score - 1e-12).sum()))
            if g < p:
                genuine.append(score)
    return np.array(ranks), ties, np.array(genuine), (distractors @ probes.T).ravel()


def random_case(seed):
    rng = np.random.default_rng(seed)
    count, others, width = (int(rng.integers(*span)) for span in ((3, 40), (1, 260), (2, 9)))
    ids = rng.integers(0, max(1, count // 3), count)
    ids[1] = ids[0]
    if seed % 3 == 0:  # few directions: ties everywhere
        return rng.integers(1, 3, (count, width)) + 0.0, ids, rng.integers(1, 3, (others, width)) + 0.0
    centres = rng.normal(size=(count, width)) * rng.choice([0, 1, 4])  # from chance to nearly perfect
    return rng.normal(size=(count, width)) + centres[ids], ids, rng.normal(size=(others, width))


@pytest.mark.parametrize("seed", range(200))
def test_ranks_ties_and_rates_are_those_of_the_plain_loops(seed):
    probes, ids, distractors = random_case(seed)
    ranks, ties, genuine, impostors = plain(probes, ids, distractors)
    limits = (0.5 / len(impostors), 0.01, 0.1, 1.0)
    found = identify(probes, ids, distractors, ranks=(1, 2, 10, 1000), far=limits)
    assert (found.trials, found.ties, found.distractors) == (len(ranks), ties, len(distractors))
    expected = [np.mean(ranks <= k) for k in range(1, len(distractors) + 2)]
    np.testing.assert_allclose(found.cmc, expected)
    assert found.rank == pytest.approx({k: np.mean(ranks <= k) for k in (1, 2, 10, 1000)})
    if seed % 3 == 0:
        return  # rates at a threshold within rounding noise of others: see the collapsed network
    candidates = np.append(np.sort(impostors), -np.inf)
    share_above = (len(impostors) - np.searchsorted(candidates[:-1], candidates, side="right")) / len(impostors)
    for limit in limits:
        threshold = candidates[share_above <= limit].min()
        assert found.tar_at_far[limit] == pytest.approx((np.mean(genuine > threshold), np.mean(impostors > threshold)))


@pytest.mark.parametrize("seed", range(1, 100, 3))
@pytest.mark.parametrize(("share", "few"), [(0.0, 0), (0.0, 99), (2.0, 99), (0.3, 1)])
def test_all_ways_of_counting_give_the_same(seed, share, few, monkeypatch):
    case = random_case(seed)
    expected = identify(*case)
    monkeypatch.setattr(ranks_module, "DENSE", share)  # 0: every mate is heavy; 2: none after the first block
    monkeypatch.setattr(ranks_module, "FEW", few)  # 0: heavy mates are sorted; 99: compared
    found = identify(*case)
    np.testing.assert_array_equal(found.cmc, expected.cmc)
    assert (found.ties, found.tar_at_far) == (expected.ties, expected.tar_at_far)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_many_blocks_of_many_rows(seed, dtype, monkeypatch):
    monkeypatch.setattr("lsoftmax.metrics.identification.BLOCK_ROWS", 512)
    generator = torch.Generator().manual_seed(seed)
    ids = np.arange(60) // 4
    centres = torch.randn(15, 16, generator=generator)[ids] * (seed / 2)
    probes = torch.randn(60, 16, generator=generator).add(centres).to(dtype)
    distractors = torch.randn(4001, 16, generator=generator).to(dtype)
    ranks, *_ = plain(probes.double().numpy(), ids, distractors.double().numpy())
    found = identify(probes, ids, distractors)
    expected = torch.tensor([np.mean(ranks <= k) for k in range(1, 4003)])
    # In float32 a handful of scores that differ by rounding alone count as ties.
    slack = 0 if dtype == torch.float64 else 0.02
    assert float((found.cmc - expected).abs().max()) <= slack + 1e-12


def test_sizes_are_the_first_so_many_distractors():
    probes, ids, distractors = random_case(1)
    distractors = np.random.default_rng(0).normal(size=(300, probes.shape[1]))
    sizes = [1, 10, 33, 64, 100, 300]
    found = identify(probes, ids, distractors, sizes=sizes[::-1], far=(0.01, 0.1))
    assert list(found) == sizes
    for size in sizes:
        alone = identify(probes, ids, distractors[:size], far=(0.01, 0.1))
        np.testing.assert_array_equal(found[size].cmc, alone.cmc)
        assert (found[size].rank, found[size].ties) == (alone.rank, alone.ties)
        assert found[size].tar_at_far == alone.tar_at_far


@pytest.mark.parametrize("seed", range(20))
def test_more_distractors_never_help(seed):
    probes, ids, distractors = random_case(seed)
    found = list(identify(probes, ids, distractors, sizes=range(1, len(distractors) + 1, 7)).values())
    for smaller, larger in zip(found[:-1], found[1:], strict=True):
        assert (larger.cmc[: len(smaller.cmc)] <= smaller.cmc).all()


def test_the_last_rank_is_met_by_all_and_the_curve_rises():
    found = identify(*random_case(4))
    assert found.cmc[-1] == 1 and (found.cmc.diff() >= 0).all()


@pytest.mark.parametrize("width", [3, 64, 512, 1025])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_collapsed_network_finds_nobody(width, dtype):
    direction = torch.randn(1, width, generator=torch.Generator().manual_seed(width), dtype=dtype)
    found = identify(direction.expand(12, -1), [0, 1, 2] * 4, direction.expand(700, -1) * 3, far=(0.1,))
    assert found.rank == {1: 0, 10: 0} and found.ties == found.trials == 36
    assert found.tar_at_far[0.1].tar == 0


def test_perfect_features_find_everybody():
    probes = torch.eye(8).repeat_interleave(3, dim=0)
    found = identify(probes, np.arange(24) // 3, -torch.ones(50, 8))
    assert (found.rank, found.ties, found.tar_at_far[1e-6].tar) == ({1: 1, 10: 1}, 0, 1)


def test_the_order_of_probes_and_distractors_does_not_matter():
    probes, ids, distractors = random_case(5)
    rng = np.random.default_rng(0)
    order, other = rng.permutation(len(probes)), rng.permutation(len(distractors))
    one, two = identify(probes, ids, distractors), identify(probes[order], ids[order], distractors[other])
    np.testing.assert_array_equal(one.cmc, two.cmc)
    assert one.tar_at_far == two.tar_at_far


def test_lengths_do_not_matter():
    probes, ids, distractors = random_case(5)
    scale = np.random.default_rng(0).uniform(0.01, 100, (len(distractors), 1))
    np.testing.assert_array_equal(
        identify(probes, ids, distractors).cmc, identify(7 * probes, ids, distractors * scale).cmc
    )


def test_names_are_ids_too_and_lone_probes_only_bring_impostors():
    probes, _, distractors = random_case(8)
    names = np.array(["a", "a", *(f"lone {index}" for index in range(len(probes) - 2))])
    found = identify(probes, names, distractors)
    assert found.trials == 2
    np.testing.assert_array_equal(found.cmc, identify(probes[:2], [3, 3], distractors).cmc)


def test_a_memory_map_is_read(tmp_path):
    probes, ids, distractors = random_case(7)
    np.save(tmp_path / "d.npy", distractors.astype(np.float32))
    mapped = np.load(tmp_path / "d.npy", mmap_mode="r")
    assert identify(probes.astype(np.float32), ids, mapped).distractors == len(distractors)


def test_no_limit_asks_for_no_rate():
    found = identify(np.eye(2)[[0, 0]], [0, 0], np.eye(2)[[1]], far=())
    assert found.tar_at_far == {} and found.rank[1] == 1


def test_half_floats_are_taken():
    probes, ids, distractors = random_case(7)
    assert identify(probes.astype(np.float16), ids, distractors.astype(np.float16)).trials > 0


def test_progress_is_told_after_each_block():
    told = []
    probes, ids, distractors = random_case(7)
    identify(probes, ids, np.tile(distractors, (5, 1)), between=told.append)
    assert told == sorted(told) and told[-1] == 5 * len(distractors)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"ids": [0, 1, 2, 3]}, "no identity has two probes"),
        ({"ids": [0, 0]}, "2 probe_ids for 4 probes"),
        ({"distractors": np.ones((3, 5))}, r"distractors must be \(N, 2\)"),
        ({"distractors": np.ones((0, 2))}, r"distractors must be \(N, 2\)"),
        ({"distractors": np.ones((3, 2), int)}, "must be floats"),
        ({"distractors": np.array([[1, 2], [0, 0.0]])}, "row 1 of distractors is all zero"),
        ({"distractors": np.array([[1, 2], [1, math.nan]])}, "row 1 of distractors is not finite"),
        ({"probes": np.array([[1, 2], [1, 2], [1, 2], [0, 0.0]])}, "row 3 of probes is all zero"),
        ({"probes": np.ones(4)}, r"probes must be \(N, D\)"),
        ({"sizes": [0]}, "sizes must lie in 1..3"),
        ({"sizes": [4]}, "sizes must lie in 1..3"),
        ({"sizes": []}, "sizes must lie in 1..3"),
        ({"ranks": [0]}, "ranks must be >= 1"),
        ({"far": [0.0]}, "far must lie in"),
        ({"far": [2]}, "far must lie in"),
    ],
)
def test_wrong_input_is_named(change, part):
    given = {"probes": np.ones((4, 2)), "ids": [0, 0, 1, 1], "distractors": np.ones((3, 2))} | change
    with pytest.raises(ValueError, match=part):
        identify(given.pop("probes"), given.pop("ids"), given.pop("distractors"), **given)


def test_a_zero_row_far_down_is_named_by_its_own_number():
    distractors = np.ones((500, 2))
    distractors[432] = 0
    with pytest.raises(ValueError, match="row 432 of distractors"):
        identify(np.ones((2, 2)), [0, 0], distractors)


@pytest.mark.parametrize("seed", range(50))
def test_the_running_top_keeps_the_largest(seed):
    rng = np.random.default_rng(seed)
    kept, top, given = int(rng.integers(1, 50)), None, []
    top = RunningTop(kept, like=torch.zeros(0))
    for _ in range(8):
        part = torch.tensor(rng.integers(0, 60, int(rng.integers(0, 40))), dtype=torch.float32)
        given += part.tolist()
        top.add(part[part > top.floor])
        count = int(rng.integers(0, kept))
        ordered = sorted(given, reverse=True)
        expected = ordered[count] if count < len(ordered) else -math.inf
        assert top.threshold(count) == (expected, sum(value > expected for value in given))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("limit", [0.05, 0.3, 0.5, 0.6])
def test_mates_and_impostors_tie_by_the_same_rule(limit, kind):
    """Corners of a cube: cosines are thirds, which rounding tells apart. TAR and FAR are those of one threshold."""
    random = np.random.default_rng(0)
    probes, distractors = random.choice([-1, 1], (12, 3)), random.choice([-1, 1], (50, 3))
    impostors = np.sort((probes @ distractors.T).ravel())[::-1]
    genuine = (probes[::2] * probes[1::2]).sum(axis=1)
    threshold = impostors[int(limit * len(impostors))]
    found = identify(probes.astype(kind), np.arange(12) // 2, distractors.astype(kind), far=(limit,))
    expected = ((genuine > threshold).mean(), (impostors > threshold).mean())
    assert found.tar_at_far[limit] == pytest.approx(expected)
    assert any(point == pytest.approx(expected[::-1]) for point in found.roc.T.tolist())


def test_a_limit_that_would_keep_too_many_scores_is_refused():
    with pytest.raises(ValueError, match="take a smaller limit or fewer distractors"):
        RunningTop(2**22 + 1, like=torch.zeros(0))


@pytest.mark.parametrize("seed", range(4))
def test_the_roc_is_that_of_the_plain_loops(seed):
    """Up to the largest limit: at each distinct score of an impostor, whoever scores higher is accepted."""
    random = np.random.default_rng(seed)
    probes, distractors = random.integers(-2, 3, (9, 3)) + 0.25, random.integers(-2, 3, (40, 3)) + 0.25
    found = identify(probes, np.arange(9) // 3, distractors, far=(0.05, 0.3))
    impostors = (unit(probes) @ unit(distractors).T).ravel()
    among = unit(probes) @ unit(probes).T
    genuine = np.array([among[i, j] for i in range(9) for j in range(i) if i // 3 == j // 3])
    far, tar = [], []
    for threshold in np.unique(impostors.round(12))[::-1]:
        far.append((impostors > threshold + 1e-11).mean())
        tar.append((genuine > threshold + 1e-11).mean())
    points = [(f, t) for f, t in zip(far, tar, strict=True) if f <= 0.3]
    curve = [tuple(point) for point in found.roc.T.tolist()]
    assert {tuple(np.round(p, 9)) for p in points} <= {tuple(np.round(p, 9)) for p in curve}
    assert curve == sorted(curve) and curve[-1][0] <= 0.3


def test_a_long_roc_is_thinned_but_keeps_what_was_asked_for():
    random = np.random.default_rng(0)
    limits = (1e-4, 3e-3, 0.1)
    found = identify(random.normal(size=(40, 5)), np.arange(40) // 4, random.normal(size=(2000, 5)), far=limits)
    assert found.roc.shape[1] < 1010 and found.roc[0, 0] == 0
    for tar, realised in found.tar_at_far.values():
        where = (found.roc[0] == realised).nonzero().item()
        assert found.roc[1, where] == pytest.approx(tar, abs=1e-12)
