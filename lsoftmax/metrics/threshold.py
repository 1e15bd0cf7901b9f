"""The threshold with the most right decisions, exactly; and what to do where several are equally good."""

import math
from statistics import median

import torch
from torch import Tensor

Gap = tuple[float, float]  # between two neighbouring distinct scores: lower, upper


def widest_gap(scores: Tensor, same: Tensor) -> float:
    """Threshold t with the most pairs for which (score > t) == same.

    Between two neighbouring distinct scores every threshold decides alike, so the candidates are these gaps and the two
    ends (reject all, accept all), each end as wide as the gap beside it. Neighbouring gaps that are equally good are
    merged into runs. The midpoint of the widest run is taken; of runs as wide as each other the one nearest the median
    of all best gaps, then the lower. Means over separate runs could fall where fewer pairs are right, and the first or
    the last maximum is biased in a known direction.

    Args:
        scores: (P,) float64, descending, finite.
        same: (P,) bool.
    """
    gaps = _best_gaps(scores, same)
    runs = [gaps[0]]
    for lower, upper in gaps[1:]:
        if upper == runs[-1][0]:
            runs[-1] = (lower, runs[-1][1])
        else:
            runs.append((lower, upper))
    width = max(upper - lower for lower, upper in runs)
    widest = [run for run in runs if run[1] - run[0] == width]
    if len(widest) > 1:
        centre = median(map(_middle, gaps))
        widest.sort(key=lambda run: (abs(_middle(run) - centre), run))
    return _middle(widest[0])


def _best_gaps(scores: Tensor, same: Tensor) -> list[Gap]:
    """All gaps with the most right decisions, from high to low."""
    # With the first i + 1 pairs accepted: right decisions, less those of "reject all".
    gain = torch.where(same, 1, -1).cumsum(0)
    gain[:-1].masked_fill_(scores[1:] == scores[:-1], -len(scores) - 1)  # no gap between equal scores
    most = max(int(gain.max()), 0)
    at = (gain == most).nonzero().flatten()
    uppers, lowers = scores[at].tolist(), scores[(at + 1).clamp(max=len(scores) - 1)].tolist()
    gaps = list(zip(lowers, uppers, strict=True))
    if most == 0:  # reject all
        highest = scores[0]
        gaps.insert(0, (float(highest), float(highest + _step(scores, highest))))
    if int(gain[-1]) == most:  # accept all
        lowest = scores[-1]
        below = math.nextafter(float(lowest), -math.inf)  # the step may round to nothing
        gaps[-1] = (min(float(lowest - _step(scores, lowest)), below), float(lowest))
    return gaps


def _step(scores: Tensor, end: Tensor) -> Tensor:
    """The distance from an end to the next distinct score; if there is none a number that changes the end."""
    distances = (scores - end).abs()
    distances = distances[distances > 0]
    return distances.min() if len(distances) else end.abs().clamp(min=1)


def _middle(gap: Gap) -> float:
    """The lower end where the midpoint rounds to the upper: a score at the threshold is rejected."""
    lower, upper = gap
    middle = lower / 2 + upper / 2
    return middle if lower <= middle < upper else lower
