"""The threshold with the most correct decisions, exactly; and what to do where several are equally good."""

import torch
from torch import Tensor

from lsoftmax.metrics.roc import ends_of_groups


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
    last = ends_of_groups(scores)
    values = scores[last]
    gain = torch.cat([last.new_zeros(1), (2 * same.long() - 1).cumsum(0)[last]])  # correct decisions, up to a constant
    edges = _with_ends(values)  # gap j lies between edges[j + 1] and edges[j]
    best = (gain == gain.max()).nonzero().flatten()
    breaks = (best.diff() > 1).nonzero().flatten()
    upper = edges[torch.cat([best[:1], best[breaks + 1]])]
    lower = edges[torch.cat([best[breaks], best[-1:]]) + 1]
    widths = upper - lower
    run = 0
    if len(widths) > 1:
        middle = (edges[best] / 2 + edges[best + 1] / 2).quantile(0.5)
        distance = (upper / 2 + lower / 2 - middle).abs().where(widths == widths.max(), torch.inf)
        run = int((distance == distance.min()).nonzero()[-1])  # descending: the last is the lowest
    top, bottom = float(upper[run]), float(lower[run])
    midpoint = top / 2 + bottom / 2
    return midpoint if bottom <= midpoint < top else bottom


def _with_ends(values: Tensor) -> Tensor:
    """(U + 2,) edges of the gaps: the (U,) descending values, and beyond either end as far again as its neighbour."""
    if len(values) == 1:
        step = values.abs().clamp(min=1)
        return torch.cat([values + step, values, values - step])
    return torch.cat([2 * values[:1] - values[1:2], values, 2 * values[-1:] - values[-2:-1]])
