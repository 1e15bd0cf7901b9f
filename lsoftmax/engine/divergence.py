"""The end of a run whose numbers have left the finite ones."""

from typing import Any


class Diverged(Exception):
    """The loss or a gradient is not finite, and the run has no way left to go on."""

    def __init__(self, divergence: dict[str, Any]) -> None:
        self.divergence = divergence
        super().__init__(
            "the loss or its gradient is not finite at step {step} (lambda {lam}, lr {lr:g}, feature norm "
            "{feature_norm:.3g}); try a slower lambda (schedule.lam.gamma), a floor under it (schedule.lam.minimum=5), "
            "or plain softmax first (loss=softmax, then init_from=)".format(**divergence)
        )
