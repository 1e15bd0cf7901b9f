"""From settings to objects: the one place where data, networks, losses and the engine meet."""

import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import data
import models
from configs.schema import Lambda, LearningRate, Settings
from configs.settings import identity
from data import DeviceLoader, ImageSet, Loader, MappedSet, PairSet, Splits, StreamLoader, in_order, stream_in_order
from lsoftmax import AdaptiveLambda, PlateauLR, losses
from lsoftmax.engine import checkpoint
from lsoftmax.engine.device import free_bytes
from lsoftmax.engine.evaluation import Batches, evaluate
from lsoftmax.engine.plan import Plan, TrainerOptions
from lsoftmax.engine.signals import StopRequest
from lsoftmax.engine.trainer import Trainer
from lsoftmax.engine.verification import after_pca, describe, embed, verify
from lsoftmax.engine.weights import load_into, read_weights
from lsoftmax.errors import UserError
from lsoftmax.losses import Criterion
from lsoftmax.metrics import Verification
from lsoftmax.schedule import LambdaSchedule, PiecewiseLR
from models import Backbone

FITS = 0.5  # a set in a file is streamed if it would take more than this share of the device's free memory


def load_data(settings: Settings) -> Splits:
    """The data set's parts; what only a batch needs (augmentation, mean, scale) is not used here."""
    options = asdict(settings.dataset)
    for batch_option in ("augment", "mean", "scale", "stream"):
        options.pop(batch_option, None)
    return data.load(options.pop("name"), settings.data_root, download=settings.data_download, **options)


def build_network(settings: Settings, images: ImageSet, device: torch.device) -> tuple[Backbone, Criterion]:
    """Backbone and criterion for such images, initialised from the seed; UserError if the options make no network."""
    torch.manual_seed(settings.seed)
    what = "model"
    try:
        backbone = models.build(image_shape=images.image_shape, **asdict(settings.model))
        what, options = "loss", asdict(settings.loss)
        criterion = losses.create(options.pop("name"), backbone.feature_size, images.num_classes, **options)
    except ValueError as error:
        raise UserError(f"{what}: {error}") from error
    return backbone.to(device), criterion.to(device)


def start_from(run: Path, backbone: Backbone, criterion: Criterion) -> None:
    """Fill both with the weights of a finished run."""
    path = run / "model.safetensors"
    tensors, _ = read_weights(path)
    load_into(backbone, tensors, "backbone", path)
    load_into(criterion, tensors, "criterion", path)


def make_plan(settings: Settings) -> Plan:
    """lr and lambda as functions of the step, and the numbers that are tuned with them."""
    schedule = settings.schedule
    return Plan(
        steps=schedule.steps,
        batch_size=schedule.batch_size,
        lr=make_lr(schedule.lr),
        lam=make_lambda(schedule.lam),
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
        classifier_lr_factor=schedule.classifier.lr_factor,
        classifier_weight_decay=schedule.classifier.weight_decay,
    )


def make_lr(lr: LearningRate) -> PiecewiseLR | PlateauLR:
    """A function of the step, or a controller at its beginning."""
    if lr.kind == "step":
        return PiecewiseLR(lr.base, tuple(lr.milestones), lr.factor)
    return PlateauLR(lr.base, factor=lr.factor, every=lr.every, patience=lr.patience, minimum=lr.minimum)


def make_lambda(lam: Lambda) -> LambdaSchedule | AdaptiveLambda:
    """A function of the step, or a controller at its beginning."""
    if lam.kind == "power":
        return LambdaSchedule(lam.base, lam.gamma, lam.power, lam.minimum, lam.delay)
    if lam.kind == "constant":
        return LambdaSchedule(lam.base, 0, 0, lam.minimum)
    initial = max(lam.base, lam.minimum)
    return AdaptiveLambda(lam.accuracy, initial, lam.rate, lam.minimum, max(1000.0, initial), lam.delay, lam.guard)


def make_options(settings: Settings) -> TrainerOptions:
    """How the run is executed; evaluations are spread over it where their interval is left open."""
    options = asdict(settings.trainer)
    if options["eval_every"] is None:
        options["eval_every"] = max(1, settings.schedule.steps // 20)
    return TrainerOptions(**options)


def make_trainer(
    settings: Settings, splits: Splits, mean: Tensor, device: torch.device, path: Path, *, anew: bool = False
) -> Trainer:
    """A trainer at step 0, from scratch or from `init_from`. anew: whatever checkpoint lies at path will be removed."""
    backbone, criterion = build_network(settings, splits.train, device)
    data_sha256 = splits.sha256()
    if settings.init_from is not None and (anew or not _holds_weights(path, data_sha256)):
        start_from(Path(settings.init_from).expanduser(), backbone, criterion)
    plan = make_plan(settings)
    # On the device once, for training and evaluation, unless they are too many.
    keep = streams(settings, splits.train, device)
    sets = {name: part if keep and name == "train" else part.to(device) for name, part in parts(splits).items()}
    pixels = {"mean": mean, "scale": settings.dataset.scale, "device": device}
    kind: type[Loader] = StreamLoader if keep else DeviceLoader
    loader = kind(sets["train"], plan.batch_size, seed=settings.seed, augment=settings.dataset.augment, **pixels)
    passes = {name: evaluation_batches(settings, image_set, mean, device) for name, image_set in sets.items()}
    return Trainer(
        backbone,
        criterion,
        loader,
        passes,
        plan,
        make_options(settings),
        path,
        identity(settings),
        data_sha256,
        held_out_error(settings, splits, passes.get("val"), mean, backbone, criterion),
    )


def _holds_weights(path: Path, data_sha256: str) -> bool:
    """Whether a run goes on from this checkpoint: it needs no others then, and their folder may have gone."""
    return path.exists() and checkpoint.load(path).get("data_sha256") == data_sha256


def streams(settings: Settings, images: ImageSet, device: torch.device) -> bool:
    """Whether training reads its images from their file batch by batch: as `dataset.stream` says, else by need."""
    if not isinstance(images, MappedSet):
        return False
    wanted: bool | None = getattr(settings.dataset, "stream", None)  # of a set of one's own that has no such option
    return images.nbytes > FITS * free_bytes(device) if wanted is None else wanted


def evaluation_batches(settings: Settings, image_set: ImageSet, mean: Tensor, device: torch.device) -> Batches:
    """Passes over the set in order, prepared as in training but not augmented."""
    size, scale = settings.trainer.eval_batch_size, settings.dataset.scale
    passes = stream_in_order if isinstance(image_set, MappedSet) else in_order
    return partial(passes, image_set, size, mean=mean, scale=scale, device=device)  # type: ignore[arg-type]


def held_out_error(
    settings: Settings, splits: Splits, val: Batches | None, mean: Tensor, backbone: Backbone, criterion: Criterion
) -> Callable[[Callable[[], object]], float] | None:
    """What a `PlateauLR` looks at, in percent: held-out images misclassified, or pairs of held-out people misjudged."""
    pairs = splits.held_out
    if pairs is not None:
        batches = evaluation_batches(settings, pairs.images, mean, criterion.weight.device)
        return lambda between: 100 * (1 - judged(backbone, batches, pairs, between).accuracy)
    if val is not None:
        return lambda between: evaluate(backbone, criterion, val, between).error
    return None


def judged(backbone: nn.Module, batches: Batches, pairs: PairSet, between: Callable[[], object]) -> Verification:
    """The pairs by the cosine of their features."""
    return _judge(embed(backbone, batches, between), pairs)


def _judge(embeddings: Tensor, pairs: PairSet) -> Verification:
    return verify(embeddings, _columns(pairs), tune=pairs.tune, folds=pairs.folds)


def _columns(pairs: PairSet) -> tuple[Tensor, Tensor, Tensor]:
    return pairs.left, pairs.right, pairs.same


def verification(
    settings: Settings, splits: Splits, trainer: Trainer, mean: Tensor, stop: StopRequest
) -> dict[str, Any] | None:
    """What the network says of pairs of faces, {their name: numbers, and remarks where there is something to say}; None
    for a data set without any."""
    found = {}
    for pairs in splits.pairs:
        batches = evaluation_batches(settings, pairs.images, mean, trainer.device)
        embeddings = embed(trainer.backbone, batches, stop.check)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found[pairs.name] = describe(_judge(embeddings, pairs))
        if caught:
            found[pairs.name]["remarks"] = [str(warning.message) for warning in caught]
        if pairs.folds is not None and pairs is not splits.held_out:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the folds, as above
                found[pairs.name]["pca"] = after_pca(embeddings, _columns(pairs), folds=pairs.folds)
    return found or None


def parts(splits: Splits) -> dict[str, ImageSet]:
    return {
        name: image_set
        for name, image_set in (("train", splits.train), ("val", splits.val), ("test", splits.test))
        if image_set is not None
    }


def facts(splits: Splits, trainer: Trainer) -> dict[str, Any]:
    """What a result says of data and network, beside what was asked."""
    criterion = trainer.criterion
    return {
        "num_classes": splits.train.num_classes,
        "image_shape": list(splits.train.image_shape),
        "test_images": len(splits.test),
        "parameters": models.count_parameters(trainer.backbone) + models.count_parameters(criterion),
        "multiply_adds": models.multiply_adds(trainer.backbone, splits.train.image_shape) + criterion.weight.numel(),
        "dataset_sha256": trainer.data_sha256,
        **({} if splits.preparation is None else {"preparation": splits.preparation}),
        **({"notes": list(splits.notes)} if splits.notes else {}),
    }
