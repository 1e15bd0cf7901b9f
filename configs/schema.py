"""The schema: a dataclass for each group, its fields with what they accept. Values stand in the YAML files alone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from configs.fields import (
    LARGEST,
    MISSING,
    above_zero,
    are_names,
    choice,
    flag,
    folder,
    increasing,
    is_mean,
    maybe,
    number,
    option,
    whole,
)


@dataclass
class Dataset:
    name: str = option("a data set")
    augment: str = option(**choice("none", "mirror", "crop_mirror"))
    mean: Any = option("image, channel or a number that float32 can hold", is_mean)
    scale: float = option(**above_zero())
    validation: int = option(**whole(0))
    train_images: int | None = option(**maybe(whole(1)))
    train_part: int = option(**whole(0))
    classes: int | None = option(**maybe(whole(2)))
    first_class: int = option(**whole(0))


@dataclass
class PublishedDataset(Dataset):
    check_integrity: bool = option(**flag())


@dataclass
class SyntheticDataset(PublishedDataset):
    like: str = option(**choice("mnist", "cifar10", "cifar100", "face"))
    test_images: int | None = option(**maybe(whole(1)))


@dataclass
class PackedDataset(Dataset):
    test_images: int | None = option(**maybe(whole(1)))
    folder: str | None = option(**maybe(folder()))
    verify: list[str] = option("a list of names of verification sets, each once and none held_out", are_names)
    stream: bool | None = option(**maybe(flag()))


@dataclass
class LfwDataset(Dataset):
    test_images: int | None = option(**maybe(whole(1)))
    min_images: int = option(**whole(1))


@dataclass
class Model:
    name: str = option(**choice("mnist_2d", "mnist", "cifar10", "cifar100", "face", "caffe_mnist", "caffe_cifar10"))
    width: float = option(**above_zero(most=64))
    activation: str | None = option(**maybe(choice("prelu", "relu")))
    pooling: str = option(**choice("ceil", "floor"))
    after_fc: str | None = option(**maybe(choice("bn_prelu", "bn", "none")))
    filters: list[int] | None = option(
        "a list of integers >= 1 or null",
        lambda value: value is None or (value != [] and all(n >= 1 for n in value)),
        most=LARGEST,
    )
    input_size: list[int] | None = option(
        "[height, width] or null",
        lambda value: value is None or (len(value) == 2 and all(n >= 1 for n in value)),
        most=LARGEST,
    )


GRADIENTS = ("exact", "norms_live", "detached")
MARGIN_ON = ("all", "winners")


@dataclass
class Softmax:
    name: str = option("softmax")


@dataclass
class LSoftmax:
    """L-Softmax, and A-Softmax, which has the same keys: the losses that lambda anneals."""

    name: str = option("lsoftmax")
    m: int = option(**whole(1, most=1000))
    gradient: str = option(**choice(*GRADIENTS))
    margin_on: str = option(**choice(*MARGIN_ON))


@dataclass
class Hinge:
    name: str = option("hinge")
    form: str = option(**choice("one_vs_all", "crammer_singer"))
    norm: str = option(**choice("l1", "l2"))
    class_reduction: str = option(**choice("sum", "mean"))


@dataclass
class PairTerm:
    """Softmax with a contrastive or a triplet term."""

    name: str = option("contrastive or triplet")
    margin: float = option(**number(0))
    balance: float = option(**number(0))


@dataclass
class CosFace:
    name: str = option("cosface")
    m: float = option(**number(0))
    s: float = option(**above_zero())


@dataclass
class ArcFace:
    name: str = option("arcface")
    m: float = option("a number >= 0 and < pi/2 (radians)", lambda value: 0 <= value < math.pi / 2)
    s: float = option(**above_zero())


@dataclass
class LearningRate:
    """kind=step: times factor at each milestone. plateau: `lsoftmax.PlateauLR`, by the error on held-out data."""

    kind: str = option(**choice("step", "plateau"))
    base: float = option(**above_zero())
    milestones: list[int] = option("a list of increasing steps > 0", increasing, most=LARGEST)
    factor: float = option(**above_zero())
    every: int = option(**whole(1))
    patience: int = option(**whole(0))
    minimum: float = option(**number(0))


@dataclass
class Lambda:
    """kind=power: max(minimum, base (1 + gamma (step + 1 - delay))^-power), base before `delay`.

    constant: max(minimum, base). adaptive: `lsoftmax.AdaptiveLambda`, base up to `delay`, then with accuracy, rate,
    minimum and guard.
    """

    kind: str = option(**choice("power", "constant", "adaptive"))
    base: float = option(**number(0, or_inf=True))  # inf: no margin
    gamma: float = option(**number(0))
    power: float = option(**number(0))
    minimum: float = option(**number(0, or_inf=True))
    delay: int = option(**whole(0))
    accuracy: float = option(**above_zero(most=1))
    rate: float = option(**above_zero(most=1))
    guard: float = option("a number in [0, 1)", lambda value: 0 <= value < 1)


# Keys that a kind of lambda takes no notice of, and that are no part of what such a run is. Those of power have been a
# part of constant runs since before there was a third kind, and stay one.
UNUSED_BY = {
    "power": ("accuracy", "rate", "guard"),
    "constant": ("accuracy", "rate", "guard"),
    "adaptive": ("gamma", "power"),
}

# The same of a learning rate. There was step alone once: it goes without saying.
UNUSED_BY_LR = {"step": ("kind", "every", "patience", "minimum"), "plateau": ("milestones",)}


@dataclass
class ClassifierGroup:
    lr_factor: float = option(**number(0))
    weight_decay: float | None = option(**maybe(number(0)))


@dataclass
class Schedule:
    steps: int = option(**whole(1))
    batch_size: int = option(**whole(2))
    lr: LearningRate = field(default_factory=LearningRate)
    lam: Lambda = field(default_factory=Lambda)
    gradient: str = option(**choice(*GRADIENTS))  # what loss.gradient is unless it is given
    margin_on: str = option(**choice(*MARGIN_ON))  # and loss.margin_on
    momentum: float = option("a number in [0, 1)", lambda value: 0 <= value < 1)
    weight_decay: float = option(**number(0))
    classifier: ClassifierGroup = field(default_factory=ClassifierGroup)


@dataclass
class Trainer:
    log_every: int = option(**whole(1))
    eval_every: int | None = option(**maybe(whole(1)))
    checkpoint_every: int = option(**whole(1))
    checkpoint_minutes: float = option(**above_zero())
    eval_batch_size: int = option(**whole(1))
    precision: str = option(**choice("fp32", "bf16"))
    channels_last: bool = option(**flag())
    compile: bool = option(**flag())
    cuda_graph: bool = option(**flag())
    deterministic: bool = option(**flag())
    on_divergence: str = option(**choice("stop", "raise_lambda"))
    max_restarts: int = option(**whole(0))
    keep_checkpoint: bool = option(**flag())
    overwrite: bool = option(**flag())


@dataclass
class Settings:
    """The whole configuration of a run."""

    dataset: Any = MISSING  # see VARIANTS
    model: Model = field(default_factory=Model)
    schedule: Schedule = field(default_factory=Schedule)  # checked before the loss, which takes its gradient from here
    loss: Any = MISSING  # see VARIANTS
    trainer: Trainer = field(default_factory=Trainer)
    init_from: str | None = option(**maybe(folder("the folder of a finished run")))
    seed: int = option("an integer in 0..2^32-1", lambda value: 0 <= value < 2**32)  # of more, torch takes 32 bits
    device: str = option("auto, cpu, cuda, cuda:1, ...", lambda value: value != "")
    data_root: str = option(**folder())
    data_download: bool = option(**flag())
    run_dir: str | None = option(**maybe(folder()))


# Groups whose keys depend on their name: path -> name -> dataclass.
DATASETS: dict[str, type] = {
    **dict.fromkeys(("mnist5k", "mnist", "cifar10", "cifar10+", "cifar100"), PublishedDataset),
    "synthetic": SyntheticDataset,
    "webface": PackedDataset,
    "lfw_dev": LfwDataset,
}
LOSSES: dict[str, type] = {
    "softmax": Softmax,
    **dict.fromkeys(("lsoftmax", "asoftmax"), LSoftmax),
    "hinge": Hinge,
    **dict.fromkeys(("contrastive", "triplet"), PairTerm),
    "cosface": CosFace,
    "arcface": ArcFace,
}
VARIANTS = {"dataset": DATASETS, "loss": LOSSES}


def all_keys() -> list[str]:
    """Every key that some configuration has, for suggestions."""
    variants = [(cls, group) for group, classes in VARIANTS.items() for cls in classes.values()]
    nested = [key for cls, group in variants for key in _keys(cls, group)]
    return list(dict.fromkeys([*_keys(Settings, ""), *nested, *(item.name for item in fields(Settings))]))


def _keys(cls: type, prefix: str) -> Iterator[str]:
    for item in fields(cls):
        path = f"{prefix}.{item.name}" if prefix else item.name
        if isinstance(item.type, type) and is_dataclass(item.type):
            yield from _keys(item.type, path)
        else:
            yield path
