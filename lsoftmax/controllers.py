"""What steers a run by looking at it. State goes into the checkpoint; only the training loop updates it."""

import math
from typing import Self

import torch
from torch import Tensor

from lsoftmax.checks import check_number

OFFSET = 0.01  # log(lambda + OFFSET) is what is averaged: lambda may reach 0, which a logarithm alone cannot


class AdaptiveLambda:
    """Lambda as low as leaves a share `accuracy` of the training samples right with the margin on.

        controller = AdaptiveLambda().to(device)
        for images, labels in batches:
            head.lam = controller.lam
            ...  # features, loss, backward
            controller.update(required_lambda(features, head.weight, labels, m=head.m))
            optimizer.step()

    After each step it takes the `accuracy`-quantile of the batch's `required_lambda`, and follows it by an exponential
    moving average of log(lambda + 0.01). Everything stays on the device: nothing waits for it.

    Args:
        accuracy: in (0, 1]: the share of samples.
        initial: lambda of the first step.
        rate: in (0, 1]: weight of the newest batch in the average; 0.02 forgets half in 34 steps.
        minimum, maximum: lambda stays between them; both finite. `minimum` may be raised during a run.
        delay: so many updates pass before it follows: lambda waits at `initial`, for the learning rate to fall, say.

    Raises:
        ValueError: a value out of range, naming it.
    """

    def __init__(
        self,
        accuracy: float = 0.7,
        initial: float = 1000.0,
        rate: float = 0.02,
        minimum: float = 0.0,
        maximum: float = 1000.0,
        delay: int = 0,
    ) -> None:
        for name, share in (("accuracy", accuracy), ("rate", rate)):
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
                raise ValueError(f"{name} must be a number in (0, 1], got {share!r}")
        for name, value in (("minimum", minimum), ("maximum", maximum), ("initial", initial)):
            check_number(name, value)
        if not minimum <= initial <= maximum:
            raise ValueError(f"initial must lie between minimum {minimum:g} and maximum {maximum:g}, got {initial!r}")
        if isinstance(delay, bool) or not isinstance(delay, int) or delay < 0:
            raise ValueError(f"delay must be an integer >= 0, got {delay!r}")
        self.accuracy, self.rate, self.delay = accuracy, rate, delay
        self._updates = torch.tensor(0)
        self._minimum, self._maximum = minimum, maximum
        self._log = torch.tensor(math.log(initial + OFFSET), dtype=torch.float64)

    @property
    def lam(self) -> Tensor:
        """Lambda for the coming step: 0-dim, float64, on the device, always finite."""
        return (self._log.exp() - OFFSET).clamp(self._minimum, self._maximum)

    @property
    def minimum(self) -> float:
        return self._minimum

    @minimum.setter
    def minimum(self, value: float) -> None:
        check_number("minimum", value)
        self._minimum, self._maximum = value, max(value, self._maximum)

    def update(self, required: Tensor, *, skip: Tensor | None = None) -> None:
        """Follow the step just done.

        Args:
            required: (N,) the batch's `required_lambda`, inf included; nan counts as inf.
            skip: 0-dim, on the device: where it is not 0 lambda stays as it is (a fused optimiser's `found_inf`).

        Raises:
            ValueError: not one number a sample, or no sample.
        """
        if required.ndim != 1 or len(required) == 0:
            raise ValueError(f"required must be (N,) with N >= 1, got shape {tuple(required.shape)}")
        # Rank ceil(accuracy N), so that at least that share needs no more; 0.07 * 100 is a little above 7 in floats.
        rank = max(1, math.ceil(self.accuracy * len(required) - 1e-9))
        quantile = required.detach().sort().values[rank - 1].to(self._log.dtype)  # nan comes last
        quantile = quantile.nan_to_num(nan=self._maximum).clamp(self._minimum, self._maximum)
        after = self._log.lerp((quantile + OFFSET).log(), self.rate)
        self._updates = self._updates + 1
        waits = self._updates <= self.delay
        self._log = torch.where(waits if skip is None else waits | (skip != 0), self._log, after)

    def to(self, device: torch.device | str) -> Self:
        """Move the state to where the features are. MPS has no float64, and keeps it in float32."""
        device = torch.device(device)
        self._log = self._log.to(device, torch.float32 if device.type == "mps" else torch.float64)
        self._updates = self._updates.to(device)
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """The average; what was given to the constructor is not in it."""
        return {"log_lambda": self._log.clone(), "updates": self._updates.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from there, on the device where it is now: to the same bits. KeyError, ValueError if it is none."""
        value, updates = state["log_lambda"], state["updates"]
        if value.ndim != 0 or not math.isfinite(value.item()):
            raise ValueError(f"log_lambda must be one finite number, got {value!r}")
        self._log, self._updates = value.to(self._log), updates.to(self._updates)
