"""Who is it, among a million strangers? The protocol of MegaFace's challenge 1."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

import torch
from torch import Tensor

from lsoftmax.metrics.arrays import Array, as_tensor, check_norms, embeddings
from lsoftmax.metrics.ranks import CHUNK, SORTED, MateRanks, Mates, tie
from lsoftmax.metrics.roc import TarAtFar, allowed, ends_of_groups
from lsoftmax.metrics.topk import RunningTop

BLOCK_ROWS = 16_384  # of distractors, at most ...
BLOCK_SCORES = 1 << 24  # ... and scores (64 MiB): what lies beside the features in memory
POINTS = 1_000  # of a ROC curve


@dataclass(frozen=True)
class Identification:
    """Among `distractors` strangers. All rates are shares in [0, 1].

    rank: {k: share of trials in which fewer than k distractors score as high as the mate}.
    cmc: (distractors + 1,) float64, the rank-k rate for k = 1, 2, ...
    tar_at_far: {limit: (TAR, realised FAR)}; genuine pairs are those of one identity's probes, impostors are all probes
        with all distractors. A realised FAR of 0: the limit is below 1 / impostors, or the highest impostors tie.
    roc: (2, U) float64, points of the curve of FAR and TAR from FAR 0 to the largest of these limits.
    trials: ordered pairs (mate, probe) of one identity; ties: trials in which a distractor scores what the mate does.
    """

    distractors: int
    rank: dict[int, float]
    cmc: Tensor = field(repr=False)
    tar_at_far: dict[float, TarAtFar]
    roc: Tensor = field(repr=False)
    trials: int
    ties: int


@overload
def identify(
    probes: Array,
    probe_ids: Array,
    distractors: Array,
    *,
    ranks: Sequence[int] = ...,
    far: Sequence[float] = ...,
    sizes: None = ...,
    between: Callable[[int], object] = ...,
) -> Identification: ...
@overload
def identify(
    probes: Array,
    probe_ids: Array,
    distractors: Array,
    *,
    ranks: Sequence[int] = ...,
    far: Sequence[float] = ...,
    sizes: Sequence[int],
    between: Callable[[int], object] = ...,
) -> dict[int, Identification]: ...
def identify(
    probes: Array,
    probe_ids: Array,
    distractors: Array,
    *,
    ranks: Sequence[int] = (1, 10),
    far: Sequence[float] = (1e-6,),
    sizes: Sequence[int] | None = None,
    between: Callable[[int], object] = lambda done: None,
) -> Identification | dict[int, Identification]:
    """Rank every mate among the distractors, by cosine.

    A trial is an ordered pair (g, p) of one identity's images: g alone joins the distractors in the gallery, p asks.
    Its rank is 1 + the number of distractors that score as high against p as g does, or higher: ties count against
    the mate, so a collapsed network scores 0. Scores that the arithmetic cannot tell apart are ties (ranks.tie). The
    distractors are read once, in blocks; beside the features this takes less than 500 MB.

    Args:
        probes: (P, D) floats; probe_ids: (P,) integers or names.
        distractors: (N, D) floats; a memory-mapped array is read block by block.
        ranks: the k of `rank`.
        far: limits for tar_at_far, in (0, 1].
        sizes: nested distractor sets: size s is the first s rows (shuffle them beforehand). One pass for all.
        between: called with the number of distractors done after each block: to show progress.

    Returns:
        An Identification for all distractors; with `sizes` a dict of one per size, ascending.

    Raises:
        ValueError: for shapes that do not fit, rows that are zero or not finite (names the row), no identity with two
            probes, sizes outside 1..N, ranks below 1, limits outside (0, 1] and those that would keep more than 2^22
            impostor scores.
    """
    queries = embeddings(probes, "probes")
    names = probe_ids.tolist() if hasattr(probe_ids, "tolist") else list(probe_ids)
    if len(names) != len(queries):
        raise ValueError(f"there are {len(names)} probe_ids for {len(queries)} probes")
    shape = tuple(distractors.shape)
    if len(shape) != 2 or shape[0] == 0 or shape[1] != queries.shape[1]:
        raise ValueError(f"distractors must be (N, {queries.shape[1]}) as the probes are, got {shape}")
    stops = sorted(set(sizes)) if sizes is not None else [shape[0]]
    if not stops or not 1 <= stops[0] <= stops[-1] <= shape[0]:
        raise ValueError(f"sizes must lie in 1..{shape[0]} (the distractors), got {list(sizes or ())}")
    if any(k < 1 for k in ranks):
        raise ValueError(f"ranks must be >= 1, got {list(ranks)}")

    dtype = torch.float64 if queries.dtype == torch.float64 else torch.float32
    queries = _unit(queries.to(dtype), "probes")
    mates = Mates(queries, names)
    counts = MateRanks(mates)
    kept = max((allowed(limit, len(queries) * stops[-1]) for limit in far), default=0) + 1
    top = RunningTop(kept, like=queries)

    found = {}
    done, rows = 0, max(CHUNK, min(BLOCK_ROWS, BLOCK_SCORES // len(queries) // SORTED * SORTED))
    scores = _Scores(queries, rows)
    for block in _blocks(distractors, stops, rows, queries):
        top.add(counts.add(scores(block), len(block), top.floor))
        done += len(block)
        if done in stops:
            found[done] = _summary(done, mates, counts, top, ranks, far)
        between(done)
    return found if sizes is not None else found[done]


def _blocks(distractors: Array, stops: Sequence[int], rows: int, like: Tensor) -> Iterator[Tensor]:
    """(B <= rows, D) unit rows of dtype and device of `like`; no block reaches over one of the sizes in `stops`."""
    start = 0
    for stop in stops:
        while start < stop:
            # The first blocks are small: what they teach (which scores matter) spares memory and time later.
            end = min(stop, start + min(rows, max(64, start)))
            block = as_tensor(distractors[start:end])
            if not block.is_floating_point():
                raise ValueError(f"distractors must be floats, got {block.dtype}")
            yield _unit(block.to(like), "distractors", start)
            start = end


def _unit(features: Tensor, name: str, first: int = 0) -> Tensor:
    norms = torch.linalg.vector_norm(features, dim=1, dtype=torch.float64)
    check_norms(norms, name, first)
    unit: Tensor = features / norms[:, None].to(features.dtype)
    return unit


class _Scores:
    """Cosines of all probes with a block of distractors, in memory that every block uses again.

    New pages for each block would take up to a third of the product's time.
    """

    def __init__(self, queries: Tensor, rows: int) -> None:
        self._queries = queries
        self._memory = queries.new_empty(len(queries) * (-(-rows // CHUNK) * CHUNK))

    def __call__(self, block: Tensor) -> Tensor:
        """(P, B'), B' a multiple of CHUNK, -inf where there is no distractor; valid until the next call."""
        padded = -(-len(block) // CHUNK) * CHUNK
        scores = self._memory[: len(self._queries) * padded].view(len(self._queries), padded)
        torch.mm(self._queries, block.T, out=scores[:, : len(block)])
        scores[:, len(block) :] = -torch.inf
        return scores


def _summary(
    size: int, mates: Mates, counts: MateRanks, top: RunningTop, ranks: Sequence[int], far: Sequence[float]
) -> Identification:
    trial_ranks, ties = counts.ranks()
    cmc = torch.bincount(trial_ranks, minlength=size + 2)[1:].cumsum(0).double() / len(trial_ranks)
    impostors = len(mates.scores) * size
    rates = {}
    for limit in far:
        threshold, accepted = top.threshold(allowed(limit, impostors))
        rates[limit] = TarAtFar(mates.share_above(threshold), accepted / impostors)
    return Identification(
        distractors=size,
        rank={k: float(cmc[min(k, size + 1) - 1]) for k in ranks},
        cmc=cmc.cpu(),
        tar_at_far=rates,
        roc=_curve(mates, top.sorted(), impostors, [round(rate.realised_far * impostors) for rate in rates.values()]),
        trials=len(trial_ranks),
        ties=ties,
    )


def _curve(mates: Mates, largest: Tensor, impostors: int, always: Sequence[int]) -> Tensor:
    """(2, U) FAR and TAR at scores of impostors as thresholds, evenly on a logarithmic axis of accepted impostors.

    largest: (K,) scores of impostors, descending. always: numbers of accepted impostors that are among the points.
    """
    if len(largest) == 0:
        return torch.empty(2, 0, dtype=torch.float64)
    # Thresholds are the distinct scores; what ties with one is rejected, of impostors as of mates.
    thresholds = largest[ends_of_groups(largest)]
    accepted = torch.searchsorted(-largest, -(thresholds + tie(largest.dtype)))
    most = int(accepted[-1])
    wanted = torch.tensor(sorted({*always, 0, most, *(round(most ** (k / POINTS)) for k in range(POINTS + 1))}))
    at = torch.searchsorted(accepted, wanted.to(accepted), right=True).sub(1)
    at = at[ends_of_groups(at)]  # each point once
    far = accepted[at].double() / impostors
    return torch.stack([far, mates.shares_above(thresholds[at])]).cpu()
