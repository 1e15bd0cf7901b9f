"""Train one run, or a sweep of runs:  python train.py dataset=cifar10 loss.m=4  (python train.py --help)."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.command import Outcome, run_command, say
from configs.errors import ConfigError
from configs.messages import headline, summary, summary_of_ended
from configs.schema import Settings
from configs.settings import from_file, identity, to_yaml

if TYPE_CHECKING:
    from lsoftmax.engine.folder import RunFolder
    from lsoftmax.engine.signals import StopRequest

# torch takes two seconds: what needs it is imported in the functions, after the configuration was checked.


def run(settings: Settings, path: Path) -> Outcome:
    """One run in the folder `path`: begin it, go on with it, or say that it has ended."""
    from lsoftmax.engine.device import memory_errors
    from lsoftmax.engine.folder import RunFolder
    from lsoftmax.engine.signals import Interrupted, StopRequest
    from lsoftmax.errors import UserError

    folder, stop = RunFolder(path, identity(settings)), StopRequest()
    try:
        _refuse_to_empty_its_source(settings, path)
        folder.acquire()
        result = folder.ended(settings.trainer.overwrite)
        if result is None:
            with memory_errors():
                result = train(settings, folder, stop)
            words = summary(settings, result, path)
        else:
            words = summary_of_ended(settings, result, path)
            _drop_left_checkpoint(settings, folder)
        say(words)
        code = 0 if result["status"] == "finished" else 3
        if stop.signum is not None:  # too late for this run, but not for those after it
            say(f"{Interrupted(stop.signum)}; this run had ended", "stderr")
            code = 128 + stop.signum
        status = "collapsed" if result.get("collapsed") else result["status"]
        return Outcome(code, status, result["test_error"], result["seconds"], path, result.get("val_error"))
    except UserError as error:
        say(f"error: {error}", "stderr")
        code = 2 if stop.signum is None else 128 + stop.signum  # a signal is meant for the whole sweep
        return Outcome(code, "failed", folder=path)
    except Interrupted as error:
        say(f"{error}; the same command goes on from {path}", "stderr")
        return Outcome(128 + error.signum, "interrupted", folder=path)
    finally:
        folder.release()


def _refuse_to_empty_its_source(settings: Settings, path: Path) -> None:
    """UserError if overwriting the run would remove the weights that it starts from."""
    from lsoftmax.errors import UserError

    source = settings.init_from
    if source is None or not settings.trainer.overwrite:
        return
    if os.path.realpath(Path(source).expanduser()) == os.path.realpath(path):
        raise UserError(
            f"init_from={source} is the run folder that trainer.overwrite=true would empty; choose another run_dir="
        )


def _drop_left_checkpoint(settings: Settings, folder: "RunFolder") -> None:
    """Of an ended run, unless it is to be kept: so asked now, or by the command that made it."""
    left = folder.checkpoint.exists() or folder.anchor.exists()
    if not left or settings.trainer.keep_checkpoint:
        return
    with suppress(ConfigError):  # without a configuration nobody knows
        if not from_file(folder.config).trainer.keep_checkpoint:
            folder.drop_checkpoint()


def train(settings: Settings, folder: "RunFolder", stop: "StopRequest") -> dict[str, Any]:
    """Train to the last step; the result, as result.json has it. A signal that comes too late is left in `stop`."""
    from assemble import facts, load_data, make_trainer, verification
    from data import training_mean
    from lsoftmax.engine.device import choose_device, keep_freed_memory, set_determinism
    from lsoftmax.engine.divergence import Diverged
    from lsoftmax.engine.log import RunLog
    from lsoftmax.engine.record import diverged_record, final_record
    from lsoftmax.engine.weights import save_weights
    from lsoftmax.files import write_text

    device = choose_device(settings.device)
    keep_freed_memory()
    set_determinism(settings.trainer.deterministic)
    splits = load_data(settings)
    mean = training_mean(splits.train.chunks(), settings.dataset.mean)
    trainer = make_trainer(settings, splits, mean, device, folder.checkpoint, anew=folder.outdated)
    known = facts(splits, trainer)
    if folder.outdated:
        folder.clear()  # only now: device, data and network are there, and so are the weights to start from
    resumed = trainer.resume()
    write_text(folder.config, to_yaml(settings))
    with stop, RunLog(folder.path, trainer.progress.written, trainer.plan.steps) as log:
        log.say(headline(settings, known, device))
        if settings.trainer.cuda_graph and trainer.graph is None:
            log.say("warning: trainer.cuda_graph=true needs a GPU: steps are launched operation by operation")
        for note in splits.notes:
            log.say(f"warning: {note}")
        if resumed:
            before = trainer.progress.precisions
            how = "" if before == [settings.trainer.precision] else f", until then in {' and '.join(before)}"
            log.say(f"going on from step {trainer.progress.step}{how}")
        try:
            trainer.run(log, stop)
            verified = verification(settings, splits, trainer, mean, stop)
            for name, numbers in (verified or {}).items():
                for remark in numbers.get("remarks", ()):
                    log.say(f"warning: {name}: {remark}")
            result = final_record(trainer, stop, folder.identity, {**known, "verification": verified})
            metadata = {**folder.identity, **known, "mean": settings.dataset.mean}
            save_weights(folder.weights, trainer.backbone, trainer.criterion, mean, metadata)
        except Diverged as error:
            log.say(f"diverged: {error}")
            result = diverged_record(trainer, folder.identity, known)
    folder.finish(result, settings.trainer.keep_checkpoint)
    return result


if __name__ == "__main__":
    sys.exit(run_command(run))
