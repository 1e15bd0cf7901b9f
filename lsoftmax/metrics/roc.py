"""The ROC curve of scored pairs, and what is read off it. A pair is accepted when score > threshold."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class TarAtFar(NamedTuple):
    """Share of genuine pairs accepted at the lowest threshold that keeps FAR within its limit, and the FAR there.

    A realised FAR of 0 says that no impostor is accepted: the limit lies below 1 / impostors, and no smaller FAR can be
    told apart with these pairs, or the highest impostor scores tie.
    """

    tar: float
    realised_far: float


class Roc(NamedTuple):
    """Points of the curve from "reject all" to "accept all", one per distinct score and one more.

    far, tar: (U + 1,) float64, shares of impostor and genuine pairs with score > threshold.
    thresholds: (U + 1,) float64, descending: the distinct scores, then -inf.
    """

    far: Tensor
    tar: Tensor
    thresholds: Tensor

    @property
    def auc(self) -> float:
        """Area under the piecewise-linear curve: P(genuine > impostor), ties counted half."""
        return float(torch.trapezoid(self.tar, self.far))

    @property
    def eer(self) -> float:
        """The rate at which FAR = 1 - TAR on the piecewise-linear curve. It grows on every segment: one crossing."""
        excess = self.far + self.tar - 1  # from -1 to 1
        right = int(torch.searchsorted(excess, 0.0, right=False))
        left = right - 1
        share = float(-excess[left] / (excess[right] - excess[left]))
        return float(self.far[left] + share * (self.far[right] - self.far[left]))


def roc(scores: Tensor, same: Tensor) -> Roc:
    """Curve of (P,) float64 scores with (P,) bool labels. ValueError if only one of the two kinds is there."""
    genuine = int(same.sum())
    if genuine in (0, len(same)):
        raise ValueError(f"all {len(same)} pairs are {'matched' if genuine else 'mismatched'}: a ROC needs both kinds")
    values, order = scores.sort(descending=True)
    last = ends_of_groups(values)
    accepted = same[order].cumsum(0)[last].double()
    zero = accepted.new_zeros(1)
    tar = torch.cat([zero, accepted]) / genuine
    far = torch.cat([zero, last + 1 - accepted]) / (len(same) - genuine)
    return Roc(far, tar, torch.cat([values[last], zero - math.inf]))


def ends_of_groups(values: Tensor) -> Tensor:
    """(U,) int64: where each run of equal values ends in the sorted (N,) values."""
    changes = torch.ones_like(values, dtype=torch.bool)
    torch.ne(values[1:], values[:-1], out=changes[:-1])
    return changes.nonzero().flatten()


def tar_at_far(curve: Roc, impostors: int, limits: Sequence[float]) -> dict[float, TarAtFar]:
    """For each limit: TAR at the (k + 1)-th largest impostor score, k = allowed(limit, impostors), ties rejected."""
    found = {}
    for limit in limits:
        # The last point of the curve whose FAR is within the limit, and of those with equal FAR the lowest threshold.
        count = allowed(limit, impostors)
        accepted = (curve.far * impostors).round()
        point = int(torch.searchsorted(accepted, float(count), right=True)) - 1
        found[limit] = TarAtFar(float(curve.tar[point]), float(curve.far[point]))
    return found


def thinned(curve: Roc, impostors: int, points: int = 200) -> tuple[Tensor, Tensor]:
    """(FAR, TAR), (<= points + 1,) float64 each: few points to keep and to draw, the same FAR for all sets of so many.

    The highest TAR at each FAR k / impostors, k = 0, 1 and on to all, evenly on a logarithmic axis.
    """
    counts = sorted({0, *(round(impostors ** (k / max(1, points - 1))) for k in range(points))})
    accepted = (curve.far * impostors).round()
    at = torch.searchsorted(accepted, torch.tensor(counts, dtype=accepted.dtype), right=True) - 1
    return torch.tensor(counts, dtype=torch.float64) / impostors, curve.tar[at]


def allowed(limit: float, impostors: int) -> int:
    """Largest k with k / impostors <= limit, whatever the product rounds to (0.29 * 100 = 28.999...)."""
    if not 0 < limit <= 1:
        raise ValueError(f"far must lie in (0, 1], got {limit}")
    count = math.floor(limit * impostors)
    return min(count + 1, impostors) if (count + 1) / impostors <= limit else count
