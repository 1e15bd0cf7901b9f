"""The training loop: read `run` from top to bottom."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lsoftmax.controllers import PlateauLR
from lsoftmax.engine.annealing import Annealing
from lsoftmax.engine.checkpoint import ANCHOR
from lsoftmax.engine.collapse import gives_up_a_class
from lsoftmax.engine.divergence import Diverged
from lsoftmax.engine.evaluation import Batches, Evaluation, evaluate
from lsoftmax.engine.graph import StepGraph, can_record
from lsoftmax.engine.guard import Guard, gradient_norm
from lsoftmax.engine.log import RunLog
from lsoftmax.engine.optimizer import build_optimizer, set_learning_rate
from lsoftmax.engine.plan import Plan, TrainerOptions
from lsoftmax.engine.signals import Interrupted, StopRequest
from lsoftmax.engine.state import OtherData, Progress, RunState
from lsoftmax.errors import UserError, first_line
from lsoftmax.files import link_or_copy
from lsoftmax.losses import Criterion

TIMES = ("images_per_s", "seconds")  # what is not the same when a run is repeated


class Loader(Protocol):
    """Training batches as a function of the step."""

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) float images and (B,) labels on the device."""

    def epoch(self, step: int) -> float:
        """Epochs passed before this step."""


class Trainer:
    """Trains a backbone under a criterion.

    Args:
        backbone: (B, C, H, W) -> (B, D), on the device.
        criterion: see `lsoftmax.losses`, on the device.
        loader: training batches.
        sets: passes over "train" and "test", and "val" where there is one.
        plan: what happens at which step.
        options: how it is executed.
        path: where the checkpoint lies.
        identity: what was asked, as plain containers; kept in the checkpoint.
        data_sha256: a checkpoint must have been made on the same data.
        held_out_error: in percent, for a `PlateauLR` of the plan; called with what to call before each batch.
    """

    def __init__(
        self,
        backbone: nn.Module,
        criterion: Criterion,
        loader: Loader,
        sets: dict[str, Batches],
        plan: Plan,
        options: TrainerOptions,
        path: Path,
        identity: dict[str, Any],
        data_sha256: str,
        held_out_error: Callable[[Callable[[], object]], float] | None = None,
    ) -> None:
        self.backbone, self.criterion, self.loader, self.sets = backbone, criterion, loader, sets
        self.plan, self.options = plan, options
        self.path, self.anchor = path, path.with_name(ANCHOR)
        self.device = next(criterion.parameters()).device
        if options.channels_last:
            backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if options.compile:
            torch.compiler.reset()  # else an earlier run of a sweep would make our shapes dynamic
        self.features: Callable[[Tensor], Tensor] = (
            torch.compile(backbone, dynamic=False) if options.compile else backbone
        )
        self.parameters = [*backbone.parameters(), *criterion.parameters()]
        self.optimizer = build_optimizer(backbone, criterion, plan)
        self.guard = Guard(self.optimizer, self.device)
        self.graph = StepGraph(self.device) if options.cuda_graph and can_record(self.device) else None
        self.annealing = Annealing(criterion, plan.lam, compile=options.compile, in_place=self.graph is not None)
        self.plateau = plan.lr if isinstance(plan.lr, PlateauLR) else None
        self.held_out_error = held_out_error
        controllers = (self.annealing.controller, self.plateau)
        self.state = RunState(backbone, criterion, self.optimizer, identity, data_sha256, *controllers)
        self.latest: dict[str, Evaluation] = {}  # of the last evaluated step
        self._clock = self._saved_at = self._speed_since = time.monotonic()
        self._speed_step = 0

    @property
    def progress(self) -> Progress:
        return self.state.progress

    @property
    def data_sha256(self) -> str:
        return self.state.data_sha256

    def resume(self) -> bool:
        """Go on from the checkpoint, if there is one. UserError if it belongs to other data or is damaged."""
        if not self.path.exists():
            return False
        try:
            planned = self.state.load(self.path)
        except OtherData:
            if not self.options.overwrite:
                raise
            for path in (self.path, self.anchor):
                path.unlink(missing_ok=True)
            return False
        if planned or not self.anchor.exists():
            self._anchor()  # a kill may have come between the checkpoint and its anchor
        self.progress.restarts += 1
        return True

    def run(self, log: RunLog, stop: StopRequest) -> None:
        """Train to the last step. Raises Interrupted (saved first) or Diverged (nothing saved)."""
        if self.options.precision not in self.progress.precisions:
            self.progress.precisions.append(self.options.precision)
        self._restart_clocks()
        try:
            while True:
                self._measure(log, stop)
                if self.progress.step == self.plan.steps:
                    self._save(planned=True)
                    return
                self._save_if_due()  # before the first step too: there always is a good state to return to
                stop.check()
                self._step()
                log.tick(self.progress.step)
                if self._logs_now():
                    self._stop_if_broken(log)
        except Interrupted:
            self._save(planned=False)
            raise
        finally:
            if self.graph is not None:
                self.graph.forget()  # its memory is the verification's now

    def _step(self) -> None:
        """One optimiser step; on logged steps its instruments go to `progress.pending`."""
        step = self.progress.step
        lr, logged = self.plan.lr(step), self._logs_at(step + 1)
        set_learning_rate(self.optimizer, lr)
        self.annealing.set(step, self.progress.lambda_floor)
        images, labels = self.loader.batch(step)
        if self.options.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        if self.graph is None:
            values = self._update(step, images, labels, logged)
        else:
            values = self.graph(self._update, lr, step, images, labels, logged)
        self.progress.step += 1
        if logged:
            self.progress.pending = self._record(step, values)

    def _update(self, step: int | Tensor, images: Tensor, labels: Tensor, watched: bool) -> dict[str, Tensor]:
        """What a step does on the device, and waits for nothing; the instruments, where they are watched."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.options.precision == "bf16"):
            features = self._forward(images)
            loss = self.criterion(features, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = gradient_norm(self.parameters)
        self.guard.watch(step, loss, norm)
        values = {}
        if watched:  # before the update, as the loss is
            statistics = self.criterion.statistics(features.detach(), labels)
            values = {"loss": loss.detach(), **statistics, "gradient_norm": norm}
        self.annealing.follow(features.detach(), labels, self.guard.mask)
        self.optimizer.step()
        return values

    def _forward(self, images: Tensor) -> Tensor:
        try:
            return self.features(images)
        except Exception as error:
            if not (self.options.compile and type(error).__module__.startswith(("torch._inductor", "torch._dynamo"))):
                raise
            reason = first_line(error)
            needed = "a C++ compiler (and on a GPU Python's headers)"
            raise UserError(
                f"trainer.compile=true does not work here ({reason}); install {needed}, or trainer.compile=false"
            ) from error

    def _measure(self, log: RunLog, stop: StopRequest) -> None:
        """Evaluate where it is due, write the line of a logged step. Repeatable: a resumed run may have to."""
        progress, options = self.progress, self.options
        step = progress.step
        due = step > 0 and (step % options.eval_every == 0 or step == self.plan.steps)
        # A run that goes on with another eval_every has written the line of this step already.
        due &= progress.pending is not None or step == self.plan.steps
        if due and (not progress.curve or progress.curve[-1][0] != step):
            before = time.monotonic()
            self.latest = {name: self.evaluate(name, stop) for name in self.sets if name != "train"}
            errors = {f"{name}_error": evaluation.error for name, evaluation in self.latest.items()}
            self._speed_since += time.monotonic() - before
            seen = progress.seen_errors
            progress.curve.append([step, sum(seen) / len(seen) if seen else None, errors["test_error"]])
            progress.seen_errors = []
            progress.pending = {**(progress.pending or {"step": step}), **errors}
            progress.trace.append({key: x for key, x in progress.pending.items() if key not in TIMES})
        if self.plateau is not None and self.held_out_error is not None and self.plateau.is_due(step):
            before = time.monotonic()
            known = (progress.pending or {}).get("val_error")  # of an evaluation at this very step
            error = self.held_out_error(stop.check) if known is None else known
            self._speed_since += time.monotonic() - before
            self.plateau.update(step, error)
            progress.pending = {**(progress.pending or {"step": step}), "val_error": error}
        if progress.pending is not None:
            log.write(progress.pending)
            self._warn(log, progress.pending)
            progress.pending = None

    def _warn(self, log: RunLog, line: dict[str, Any]) -> None:
        """Say it when a class is given up that had been there: two features may begin with any norms."""
        gone = gives_up_a_class(line)
        if gone and self.progress.all_there:
            share = line["weight_norm_min"] / line["weight_norm"]
            log.say(
                f"step {line['step']}: a class is being given up, its weight has {share:.2g} of the mean norm: what to "
                "do stands in docs/stability.md"
            )
        if gone is not None:
            self.progress.all_there = not gone

    def evaluate(self, name: str, stop: StopRequest) -> Evaluation:
        return evaluate(self.backbone, self.criterion, self.sets[name], stop.check)

    def _logs_now(self) -> bool:
        """Whether the step just done is a logged one; evaluations and saves fall on logged steps too."""
        return self._logs_at(self.progress.step)

    def _logs_at(self, step: int) -> bool:
        options = self.options
        every = [options.log_every, options.eval_every, options.checkpoint_every]
        every += [self.plateau.every] if self.plateau is not None else []
        return step == self.plan.steps or any(step % n == 0 for n in every)

    def _record(self, step: int, values: dict[str, Tensor]) -> dict[str, Any]:
        """The line of a logged step: one transfer for all of its numbers."""
        lam = self.annealing.logged(step, self.progress.lambda_floor)
        if isinstance(lam, Tensor):
            values = {"lam": lam, **values}
        numbers = torch.stack([value.float() for value in values.values()]).tolist()
        now, done = time.monotonic(), step + 1
        record = {
            "step": done,
            "epoch": round(self.loader.epoch(done), 4),
            "lr": self.plan.lr(step),
            "lam": lam,
            **dict(zip(values, numbers, strict=True)),
            "images_per_s": (done - self._speed_step) * self.plan.batch_size / max(now - self._speed_since, 1e-9),
            "seconds": round(self.elapsed(), 3),
        }
        self._speed_step, self._speed_since = done, now
        self.progress.seen_errors.append(record["train_error"])
        return record

    def _stop_if_broken(self, log: RunLog) -> None:
        """Return to the last planned checkpoint with a higher floor under lambda, or raise Diverged."""
        step = self.guard.first_bad_step()
        if step is None and not self.state.is_finite():
            step = self.progress.step - 1  # an update left float32's range
        if step is None:
            return
        divergence = {
            "step": step,
            "lam": self.annealing.value(step, self.progress.lambda_floor),
            "lr": self.plan.lr(step),
            "feature_norm": self._feature_norm(step),
        }
        divergences = [*self.progress.divergences, divergence]
        returns = self.options.on_divergence == "raise_lambda" and len(divergences) <= self.options.max_restarts
        if divergence["lam"] is None or not returns:
            self.progress.divergences = divergences
            raise Diverged(divergence)
        self._return(divergence, divergences)
        log.rewind(self.progress.written)
        floor = self.progress.lambda_floor
        log.say(f"not finite at step {step}: back to step {self.progress.step} with lambda >= {floor:g}")

    def _return(self, divergence: dict[str, Any], divergences: list[dict[str, Any]]) -> None:
        """To the anchor, with what must not be forgotten."""
        floor = max(2 * self.progress.lambda_floor, 2 * divergence["lam"], 0.5)
        seconds, restarts, precisions = self.elapsed(), self.progress.restarts, self.progress.precisions
        self.state.load(self.anchor)
        self.guard.reset()
        if self.graph is not None:
            self.graph.forget()  # momentum lies elsewhere now, or is still to come, and lambda's floor is another
        divergence["floor"] = floor
        self.progress.lambda_floor, self.progress.divergences = floor, divergences
        self.progress.seconds, self.progress.restarts, self.progress.precisions = seconds, restarts, precisions
        self._restart_clocks()
        self._save(planned=True)

    def _feature_norm(self, step: int) -> float:
        """Mean feature norm of that step's batch: the guard has held the weights since, unless they themselves left
        float32's range (then nan).
        """
        with torch.no_grad():
            features = self.backbone(self.loader.batch(step)[0])
        return float(torch.linalg.vector_norm(features.float(), dim=1).mean())

    def _save_if_due(self) -> None:
        step, options, now = self.progress.step, self.options, time.monotonic()
        if step % options.checkpoint_every == 0:
            self._save(planned=True)
        elif now - self._saved_at > 60 * options.checkpoint_minutes:
            self._save(planned=False)

    def _save(self, *, planned: bool) -> None:
        """Never from a broken state: neither one that the guard has masked nor one that is not finite."""
        if self.guard.first_bad_step() is not None or not self.state.is_finite():
            return
        before = time.monotonic()
        self.progress.seconds = self.elapsed()
        self._clock = before
        self.state.save(self.path, planned=planned)
        if planned:
            self._anchor()
        self._saved_at = time.monotonic()
        self._speed_since += self._saved_at - before

    def _anchor(self) -> None:
        """Keep the last planned checkpoint apart: where a run returns to must not depend on signals or the clock."""
        if self.options.on_divergence == "raise_lambda":
            link_or_copy(self.path, self.anchor)
        else:
            self.anchor.unlink(missing_ok=True)  # of an earlier process: older than the checkpoint now

    def elapsed(self) -> float:
        """Seconds of training and evaluation, earlier processes included."""
        return self.progress.seconds + time.monotonic() - self._clock

    def _restart_clocks(self) -> None:
        self._clock = self._saved_at = self._speed_since = time.monotonic()
        self._speed_step = self.progress.step
