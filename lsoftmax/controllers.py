"""What steers a run by looking at it. State goes into the checkpoint; only the training loop updates it."""

import math
from typing import Any, Self

import torch
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau

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
        accuracy: in (0, 1]: the share of samples. At 1 - 1 / C and below, for C classes of one size, a class can be
            given up, unless a guard watches (docs/stability.md).
        initial: lambda of the first step.
        rate: in (0, 1]: weight of the newest batch in the average; 0.02 forgets half in 34 steps.
        minimum, maximum: lambda stays between them; both finite. `minimum` may be raised during a run.
        delay: so many updates pass before it follows: lambda waits at `initial`, for the learning rate to fall, say.
        guard: in [0, 1): after `delay`, while the least norm of a class weight is below this share of their mean,
            lambda rises at `rate` towards `maximum`, as where no sample is right: a class that is being given up
            shrinks. Where norms differ for other reasons (two features at the beginning, classes of very different
            sizes), a large guard keeps lambda high. 0: no guard.

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
        guard: float = 0.0,
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
        if isinstance(guard, bool) or not isinstance(guard, int | float) or not 0 <= guard < 1:
            raise ValueError(f"guard must be a number in [0, 1), got {guard!r}")
        self.accuracy, self.rate, self.delay, self.guard = accuracy, rate, delay, guard
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

    def update(self, required: Tensor, *, class_norms: Tensor | None = None, skip: Tensor | None = None) -> None:
        """Follow the step just done.

        Args:
            required: (N,) the batch's `required_lambda`, inf included; nan counts as inf.
            class_norms: (C,) of the class weights, for the guard, which alone asks for them.
            skip: 0-dim, on the device: where it is not 0 lambda stays as it is (a fused optimiser's `found_inf`).

        Raises:
            ValueError: not one number a sample, or no sample; a guard without norms.
        """
        if required.ndim != 1 or len(required) == 0:
            raise ValueError(f"required must be (N,) with N >= 1, got shape {tuple(required.shape)}")
        # Rank ceil(accuracy N), so that at least that share needs no more; 0.07 * 100 is a little above 7 in floats.
        rank = max(1, math.ceil(self.accuracy * len(required) - 1e-9))
        quantile = required.detach().sort().values[rank - 1].to(self._log.dtype)  # nan comes last
        quantile = quantile.nan_to_num(nan=self._maximum).clamp(self._minimum, self._maximum)
        if self.guard:
            if class_norms is None or class_norms.ndim != 1 or len(class_norms) == 0:
                got = "none" if class_norms is None else f"shape {tuple(class_norms.shape)}"
                raise ValueError(
                    f"guard={self.guard:g} needs class_norms (C,), the norms of the class weights; got {got}"
                )
            norms = class_norms.detach()
            quantile = torch.where(norms.min() < self.guard * norms.mean(), self._maximum, quantile)
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

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """The state itself."""
        return self._log, self._updates

    def move_into(self, tensors: tuple[Tensor, Tensor]) -> None:
        """Go on in the memory of these, which `tensors` once gave: an update puts its result into new ones."""
        for place, value in zip(tensors, self.tensors, strict=True):
            place.copy_(value)
        self._log, self._updates = tensors

    def state_dict(self) -> dict[str, Tensor]:
        """The average; what was given to the constructor is not in it."""
        return {"log_lambda": self._log.clone(), "updates": self._updates.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from there, on the device where it is now: to the same bits. KeyError, ValueError if it is none."""
        value, updates = state["log_lambda"], state["updates"]
        if not (isinstance(value, Tensor) and isinstance(updates, Tensor)):
            raise ValueError(f"log_lambda and updates must be tensors, got {value!r} and {updates!r}")
        if value.ndim != 0 or not math.isfinite(value.item()):
            raise ValueError(f"log_lambda must be one finite number, got {value!r}")
        self._log, self._updates = value.to(self._log), updates.to(self._updates)


class PlateauLR:
    """A learning rate that falls where an error on held-out data has stopped falling: torch's ReduceLROnPlateau.

        lr = PlateauLR(0.1, every=1000, patience=2, minimum=0.001)
        for step in range(steps):
            if lr.is_due(step):
                lr.update(step, held_out_error())
            ...  # a step at the rate lr(step)

    Args:
        base: the rate of the first step, > 0.
        factor: in (0, 1): what the rate is multiplied with.
        every: >= 1: steps from one look at the error to the next.
        patience: >= 0: so many looks in a row may pass without a new lowest error; at the next the rate falls.
        minimum: >= 0: the rate does not fall below it.

    Raises:
        ValueError: a value out of range, naming it.
    """

    def __init__(
        self, base: float, *, factor: float = 0.1, every: int = 1000, patience: int = 2, minimum: float = 0.0
    ) -> None:
        for name, value in (("base", base), ("minimum", minimum)):
            check_number(name, value)
        if not minimum <= base < math.inf or base == 0:
            raise ValueError(f"base must be a finite number > 0 and >= minimum {minimum:g}, got {base!r}")
        if not 0 < factor < 1:
            raise ValueError(f"factor must be a number in (0, 1), got {factor!r}")
        for name, count, least in (("every", every, 1), ("patience", patience, 0)):
            if isinstance(count, bool) or not isinstance(count, int) or count < least:
                raise ValueError(f"{name} must be an integer >= {least}, got {count!r}")
        self.every = every
        self._looked = 0  # step of the last look
        # torch's scheduler wants an optimiser to act on; the real one gets its rate at every step, from here.
        self._stand_in = SGD([torch.zeros(1)], lr=float(base))
        self._plateau = ReduceLROnPlateau(
            self._stand_in, factor=factor, patience=patience, threshold=0, threshold_mode="abs", min_lr=minimum, eps=0
        )

    def __call__(self, step: int) -> float:
        """The rate of the coming step. What it will be later, or was before, only a run can tell."""
        return float(self._stand_in.param_groups[0]["lr"])

    def is_due(self, step: int) -> bool:
        """Whether it is to look before `step`, and has not done so."""
        return step > self._looked and step % self.every == 0

    def update(self, step: int, error: float) -> None:
        """Look at the error before `step`. ValueError if it is not finite."""
        if not math.isfinite(error):
            raise ValueError(f"error must be a finite number, got {error!r}")
        self._plateau.step(error)
        self._looked = step

    def state_dict(self) -> dict[str, Any]:
        """What changes during a run: numbers alone."""
        plateau = self._plateau
        return {"lr": self(0), "best": plateau.best, "bad": plateau.num_bad_epochs, "looked": self._looked}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there, to the same bits. KeyError, TypeError or ValueError if it is none."""
        self._stand_in.param_groups[0]["lr"] = float(state["lr"])
        self._plateau.best, self._plateau.num_bad_epochs = float(state["best"]), int(state["bad"])
        self._looked = int(state["looked"])
