"""Train one run, or a sweep of runs:  python train.py dataset=cifar10 loss.m=4  (python train.py --help)."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.command import Outcome, run_command, say
from configs.schema import Settings
from configs.settings import ROOT, compose, identity, to_yaml

if TYPE_CHECKING:
    from lsoftmax.engine.folder import RunFolder

# torch takes two seconds: what needs it is imported in the functions, after the configuration was checked.


def run(settings: Settings, path: Path) -> Outcome:
    """One run in the folder `path`: begin it, go on with it, or say that it has ended."""
    from lsoftmax.engine.device import memory_errors
    from lsoftmax.engine.folder import RunFolder
    from lsoftmax.engine.signals import Interrupted
    from lsoftmax.errors import UserError

    folder = RunFolder(path, identity(settings))
    try:
        folder.acquire()
        result = folder.ended(settings.trainer.overwrite)
        if result is None:
            with memory_errors():
                result = train(settings, folder)
        else:
            how = f"{result['precision']} on {result['device']}"
            say(f"this run has ended already ({how}); trainer.overwrite=true does it again")
        say(summary(settings, result, path))
        code = 0 if result["status"] == "finished" else 3
        status = "collapsed" if result.get("collapsed") else result["status"]
        return Outcome(code, status, result["test_error"], result["seconds"], path)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return Outcome(2, "failed", folder=path)
    except Interrupted as error:
        print(f"{error}; the same command goes on from {path}", file=sys.stderr)
        return Outcome(128 + error.signum, "interrupted", folder=path)
    finally:
        folder.release()


def train(settings: Settings, folder: "RunFolder") -> dict[str, Any]:
    """Train to the last step; the result, as result.json has it."""
    from assemble import facts, load_data, make_trainer, verification
    from data import training_mean
    from lsoftmax.engine.device import choose_device, keep_freed_memory, set_determinism
    from lsoftmax.engine.divergence import Diverged
    from lsoftmax.engine.files import write_text
    from lsoftmax.engine.log import RunLog
    from lsoftmax.engine.record import diverged_record, final_record
    from lsoftmax.engine.signals import StopRequest
    from lsoftmax.engine.weights import save_weights

    device = choose_device(settings.device)
    keep_freed_memory()
    set_determinism(settings.trainer.deterministic)
    splits = load_data(settings)
    mean = training_mean(splits.train.chunks(), settings.dataset.mean)
    trainer = make_trainer(settings, splits, mean, device, folder.checkpoint)
    known = facts(splits, trainer)
    resumed = trainer.resume()
    write_text(folder.config, to_yaml(settings))
    with StopRequest() as stop, RunLog(folder.path, trainer.progress.written, trainer.plan.steps) as log:
        log.say(headline(settings, known, device))
        for note in splits.notes:
            log.say(f"warning: {note}")
        if resumed:
            others = [p for p in trainer.progress.precisions if p != settings.trainer.precision]
            log.say(f"going on from step {trainer.progress.step}" + "".join(f", begun in {p}" for p in others))
        try:
            trainer.run(log, stop)
            verified = {"verification": verification(settings, splits, trainer, mean, stop)}
            result = final_record(trainer, stop, folder.identity, {**known, **verified})
            metadata = {**folder.identity, **known}
            save_weights(folder.weights, trainer.backbone, trainer.criterion, mean, metadata)
        except Diverged as error:
            log.say(f"diverged: {error}")
            result = diverged_record(trainer, folder.identity, known)
    folder.finish(result, settings.trainer.keep_checkpoint)
    return result


def headline(settings: Settings, known: dict[str, Any], device: Any) -> str:
    """What is about to run, in a line."""
    loss = settings.loss.name + (f" m={settings.loss.m}" if hasattr(settings.loss, "m") else "")
    width = "" if settings.model.width == 1 else f" x {settings.model.width:g}"
    network = f"{settings.model.name} network{width}, {known['parameters']:,} parameters"
    steps = f"{settings.schedule.steps:,} steps of {settings.schedule.batch_size}"
    return f"{settings.dataset.name} | {network} | {loss} | {steps} | {device}, {settings.trainer.precision}"


def summary(settings: Settings, result: dict[str, Any], path: Path) -> str:
    """What a newcomer wants to know at the end."""
    shown = _from_here(path)
    if result["status"] != "finished":
        step = result["divergences"][-1]["step"]
        return f"\nThis run diverged at step {step} and has no test error; its curves are in {shown}"
    python, train_py = _program("python"), _typed(ROOT / "train.py")
    typed = _typed(path)
    lines = [
        f"test error   {result['test_error']:.2f} %   (train {result['train_error']:.2f} %, {result['seconds']:.0f} s)",
        *(["collapsed    it gave up a class, or did not learn its training set"] if result.get("collapsed") else []),
        *(f"{name:<12} {_verified(numbers)}" for name, numbers in (result.get("verification") or {}).items()),
        f"run folder   {shown}",
        f"curves       {_program('tensorboard')} --logdir {typed}",
        f"by class     {python} {_typed(ROOT / 'scripts' / 'evaluate.py')} run={typed}",
    ]
    plain = compose([f"dataset={settings.dataset.name}"])
    if (plain.dataset, plain.model, plain.schedule) == (settings.dataset, settings.model, settings.schedule):
        other = "lsoftmax" if settings.loss.name == "softmax" else "softmax"
        command = f"{python} {train_py}"
        lines += [
            f"compare      {command} dataset={settings.dataset.name} loss={other}",
            f"sweep        {command} -m dataset={settings.dataset.name} loss.m=1,2,3,4 seed=0,1,2",
        ]
    return "\n" + "\n".join(lines)


def _verified(numbers: dict[str, Any]) -> str:
    accuracy, error = 100 * numbers["accuracy"], 100 * numbers["standard_error"]
    return f"{accuracy:.2f} % +- {error:.2f} % (standard error) of {numbers['pairs']:,} pairs are judged rightly"


def _from_here(path: Path) -> Path:
    """As one would type it from the working folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _typed(path: Path) -> str:
    """The same within a command."""
    return shlex.quote(str(_from_here(path)))


def _program(name: str) -> str:
    """The program of the environment that runs this."""
    path = Path(sys.prefix) / "bin" / name
    return _typed(path) if path.exists() else name


if __name__ == "__main__":
    sys.exit(run_command(run))
