"""A whole step, and a pass of an evaluation, on the device meta: there are no values, and whoever asks for one fails,
as does who mixes it with the CPU.

It stands for an accelerator where there is none. What it has not, autocast and the fused update, is left out.
"""

from contextlib import nullcontext

import pytest
import torch

from data.augment import crop, mirror
from data.loader import DeviceLoader, in_order
from data.sets import ImageSet
from lsoftmax import AdaptiveLambda, losses
from lsoftmax.engine.evaluation import evaluate
from lsoftmax.losses import LOSSES
from models import build

LAMBDAS = {
    "a function of the step": lambda: lambda step: 5.0,
    "adaptive": lambda: AdaptiveLambda(initial=10.0, guard=0.9),
}


@pytest.fixture
def images() -> ImageSet:
    return ImageSet(torch.zeros(20, 3, 32, 32, dtype=torch.uint8), torch.arange(20) % 3, tuple("abc"))


@pytest.fixture
def trainer(tools, tmp_path, images, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *arguments, **options: nullcontext())

    def made(loss: str, lam):
        backbone = build("cifar10", (3, 32, 32), width=0.0625)
        features = backbone(torch.zeros(2, 3, 32, 32)).shape[1]
        loader = DeviceLoader(images, 8, seed=0, mean=torch.zeros(3, 32, 32), device="meta")
        trainer = tools.trainer(
            tmp_path, loss=lambda *_: losses.create(loss, features, 3), lam=lam, device="meta", backbone=backbone,
            loader=loader, sets={}, channels_last=True,
        )  # fmt: skip
        monkeypatch.setattr(trainer.optimizer, "step", lambda: None)
        return trainer

    return made


@pytest.mark.parametrize("lam", LAMBDAS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_waits_for_nothing(trainer, loss, lam):
    trainer = trainer(loss, LAMBDAS[lam]())
    trainer._step()
    trainer._step()
    assert trainer.progress.step == 2
    assert all(p.grad.is_meta for p in trainer.parameters)


@pytest.mark.parametrize("loss", LOSSES)
def test_what_a_logged_step_reads_is_on_the_device_until_then(trainer, loss):
    trainer = trainer(loss, LAMBDAS["adaptive"]())
    values = trainer._update(0, *trainer.loader.batch(0), True)
    assert values and all(value.is_meta and value.shape == () for value in values.values())
    with pytest.raises(NotImplementedError):  # the one transfer of them all
        trainer._record(0, values)


def test_an_evaluation_waits_at_its_end_alone(trainer, images):
    trainer, seen = trainer("lsoftmax", LAMBDAS["adaptive"]()), []
    passes = lambda: in_order(images, 8, mean=torch.zeros(3, 32, 32), device="meta")  # noqa: E731
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        evaluate(trainer.backbone, trainer.criterion, passes, lambda: seen.append(1))
    assert len(seen) == 3


def test_augmentation_waits_for_nothing():
    images, offsets = torch.zeros(4, 3, 8, 8, device="meta"), torch.zeros(4, 2, dtype=torch.int64, device="meta")
    assert mirror(crop(images, offsets, 4), offsets[:, 0].bool()).is_meta
