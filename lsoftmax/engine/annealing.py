"""Lambda of each step: a function of the step, or a controller that looks at the run."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lsoftmax.controllers import AdaptiveLambda
from lsoftmax.losses import Criterion


class Annealing:
    """Sets the criterion's lambda, and lets an adaptive one follow. Idle where the loss has no lambda.

    Args:
        criterion: on its device.
        lam: of the plan.
        compile: the controller's arithmetic too; many small operations become few.
        in_place: the controller's state stays where it is in memory, as a CUDA graph needs it.
    """

    def __init__(
        self,
        criterion: Criterion,
        lam: Callable[[int], float] | AdaptiveLambda,
        *,
        compile: bool,
        in_place: bool,
    ) -> None:
        self._criterion: Any = criterion if hasattr(criterion, "lam") else None
        self._planned, self._in_place = lam, in_place
        # None: lambda is a function of the step, or there is none.
        self.controller: AdaptiveLambda | None = None
        if self._criterion is not None and isinstance(lam, AdaptiveLambda):
            self.controller = lam.to(criterion.weight.device)
        self._update = torch.compile(self._updated) if compile else self._updated
        if compile:  # the compiler advises TF32 for its float32 product, where the margin needs every digit
            warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")

    def set(self, step: int, floor: float) -> None:
        """Before the forward pass of `step`; lambda is never below `floor`."""
        if self.controller is not None:
            self.controller.minimum = max(floor, self.controller.minimum)
            self._criterion.lam = self.controller.lam
        elif self._criterion is not None:
            self._criterion.lam = self.value(step, floor)

    def follow(self, features: Tensor, labels: Tensor, skip: Tensor) -> None:
        """After the backward pass, with the weights still those of the step; `skip` as in `AdaptiveLambda.update`."""
        if self.controller is not None:
            held = self.controller.tensors
            self._update(self.controller, features, labels, skip)
            if self._in_place:
                self.controller.move_into(held)

    def _updated(self, controller: AdaptiveLambda, features: Tensor, labels: Tensor, skip: Tensor) -> None:
        required = self._criterion.required_lambda(features, labels)
        norms = self._criterion.class_norms() if controller.guard else None
        controller.update(required, class_norms=norms, skip=skip)

    def logged(self, step: int, floor: float) -> float | Tensor | None:
        """The lambda that `step`, the latest, was done with: on the device where only the device knows it."""
        if self.controller is not None:
            return self._criterion.lam  # type: ignore[no-any-return]
        return self.value(step, floor)

    def value(self, step: int, floor: float) -> float | None:
        """The same as a number; None where the loss has none. An adaptive one synchronises."""
        if self._criterion is None:
            return None
        if isinstance(self._planned, AdaptiveLambda):
            return float(self._criterion.lam)
        return max(floor, self._planned(step))
