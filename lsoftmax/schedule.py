"""Lambda and the learning rate as pure functions of the global step, so that a resumed run meets the same values."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LambdaSchedule:
    """The authors' descent of lambda (Sec. 5.1; the released layer's base, gamma, power, lambda_min):

        lambda(step) = max(minimum, base (1 + gamma (step + 1 - delay))^-power)    for step >= delay, else base

    `step` counts optimiser steps from 0; the + 1 is the authors', whose layer counts before it computes. With
    gamma = 0 lambda is constant. ValueError if a value is negative or not a number; base may be inf (no margin yet).
    """

    base: float
    gamma: float
    power: float
    minimum: float = 0.0
    delay: int = 0

    def __post_init__(self) -> None:
        for name in ("base", "gamma", "power", "minimum", "delay"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and value >= 0):  # also true for nan
                raise ValueError(f"{name} must be a number >= 0, got {value!r}")

    def __call__(self, step: int) -> float:
        if step < self.delay or math.isinf(self.base):  # inf times a power that underflows would be nan
            return self.base
        progress = 1 + self.gamma * (step + 1 - self.delay)
        fallen: float = progress**-self.power  # math.pow would be compiled anew for each step
        return max(self.minimum, self.base * fallen)


@dataclass(frozen=True)
class PiecewiseLR:
    """Learning rate `base`, multiplied by `factor` at every milestone: it holds from step number `milestone` on.

    ValueError unless base > 0, factor > 0 and the milestones increase.
    """

    base: float
    milestones: tuple[int, ...] = ()
    factor: float = 0.1

    def __post_init__(self) -> None:
        for name in ("base", "factor"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be a number > 0, got {value!r}")
        steps = (0, *self.milestones)
        if any(after <= before for before, after in zip(steps, steps[1:], strict=False)):
            raise ValueError(f"milestones must be increasing steps > 0, got {list(self.milestones)}")

    def __call__(self, step: int) -> float:
        passed = sum(step >= milestone for milestone in self.milestones)
        return self.base * math.pow(self.factor, passed)
