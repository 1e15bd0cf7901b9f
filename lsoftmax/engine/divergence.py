"""The end of a run whose numbers have left the finite ones."""

from typing import Any


class Diverged(Exception):
    """The loss or a gradient is not finite, and the run has no way left to go on."""

    def __init__(self, divergence: dict[str, Any]) -> None:
        self.divergence = divergence
        lam = divergence["lam"]
        remedies = (
            "try a lower learning rate (schedule.lr.base), a smaller weight decay (schedule.weight_decay) or "
            "trainer.precision=fp32"
            if lam is None
            else "try a slower lambda (schedule.lam.gamma, or schedule.lam.rate where it is adaptive), a floor under "
            "it (schedule.lam.minimum=5), or plain softmax first (loss=softmax, then init_from=)"
        )
        shown = "none" if lam is None else f"{lam:.4g}"
        super().__init__(
            f"the loss or its gradient is not finite at step {divergence['step']} (lambda {shown}, "
            f"lr {divergence['lr']:g}, feature norm {divergence['feature_norm']:.3g}); {remedies}"
        )
