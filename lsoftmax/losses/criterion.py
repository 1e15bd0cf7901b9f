"""What all criteria share: the class weights, plain scores and the instruments of a logged step."""

from itertools import starmap

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lsoftmax.autocast import no_autocast
from lsoftmax.blockwise import few_rows
from lsoftmax.losses.targets import strongest_rival, target_of
from lsoftmax.target import target_cosine


class Criterion(nn.Module):
    """Class weights (C, D), He-normal; subclasses add the loss in `forward`.

    Args:
        in_features: D.
        num_classes: C.
    """

    bias: Tensor | None

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, in_features))
        self.register_parameter("bias", None)
        nn.init.kaiming_normal_(self.weight, mode="fan_in", nonlinearity="relu")

    def logits(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, C) plain scores: no labels, no margin."""
        return F.linear(features, self.weight, self.bias)

    def margin_logits(self, features: Tensor, labels: Tensor) -> Tensor:
        """(N, D), (N,) -> (N, C) the logits that training asks to win; the plain ones where a loss has no margin."""
        return self.logits(features)

    def positive_psi(self, cosine: Tensor) -> Tensor:
        """(N,) cosines to the own class -> (N,) bool: psi(theta) > 0; without a margin psi is the cosine."""
        return cosine > 0

    @torch.no_grad()
    def statistics(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The instruments of a logged step, each a 0-dim tensor on the features' device; nothing is synchronised.

        train_error (percent, plain logits), target_angle (degrees; mean and 5, 50, 95 % quantiles), positive_psi, wins
        and wins_with_margin (shares of the batch), feature_norm and weight_norm (mean, min, max).
        """
        features = features.to(self.weight.dtype)
        parts = few_rows(features, labels, len(self.weight))
        with no_autocast(features):
            wrong, wins, wins_with_margin = (torch.cat(of) for of in zip(*starmap(self._decisions, parts), strict=True))
            cosine, feature_norm, _ = (column.squeeze(1) for column in target_cosine(features, self.weight, labels))
        angle = torch.rad2deg(torch.acos(cosine)).sort().values
        weight_norm = torch.linalg.vector_norm(self.weight, dim=1)
        return {
            "train_error": 100 * wrong.float().mean(),
            "target_angle": angle.mean(),
            "target_angle_q05": _quantile(angle, 0.05),
            "target_angle_q50": _quantile(angle, 0.5),
            "target_angle_q95": _quantile(angle, 0.95),
            "positive_psi": self.positive_psi(cosine).float().mean(),
            "wins": wins.float().mean(),
            "wins_with_margin": wins_with_margin.float().mean(),
            "feature_norm": feature_norm.mean(),
            "feature_norm_min": feature_norm.min(),
            "feature_norm_max": feature_norm.max(),
            "weight_norm": weight_norm.mean(),
            "weight_norm_min": weight_norm.min(),
            "weight_norm_max": weight_norm.max(),
        }

    def _decisions(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N,) bool each: wrong, wins, wins with the margin on."""
        logits = self.logits(features)
        wrong, wins = logits.argmax(dim=1) != labels, _wins(logits, labels)
        return wrong, wins, _wins(self.margin_logits(features, labels), labels)


def _quantile(ordered: Tensor, q: float) -> Tensor:
    """Nearest rank; torch.quantile would send its q to the device."""
    return ordered[round(q * (len(ordered) - 1))]


def _wins(logits: Tensor, labels: Tensor) -> Tensor:
    """(N,) bool: the target logit beats the strongest rival."""
    return target_of(logits, labels) > strongest_rival(logits, labels)
