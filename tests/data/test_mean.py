"""The mean that is subtracted."""

import pytest
import torch

from data import training_mean
from lsoftmax.errors import UserError

IMAGES = torch.randint(0, 256, (2_500, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_image_mean_is_the_mean_of_every_pixel() -> None:
    mean = training_mean(IMAGES, "image")
    assert mean.dtype == torch.float32
    assert torch.equal(mean, IMAGES.double().mean(0).float())


def test_channel_mean_is_one_number_per_channel() -> None:
    mean = training_mean(IMAGES, "channel")
    torch.testing.assert_close(mean, IMAGES.double().mean((0, 2, 3)).float().view(3, 1, 1))


@pytest.mark.parametrize("number", [0, 127.5])
def test_a_number_is_itself_in_every_channel(number: float) -> None:
    assert training_mean(IMAGES, number).tolist() == [[[number]]] * 3


def test_images_may_lie_in_any_order_in_memory() -> None:
    assert torch.equal(
        training_mean(IMAGES.contiguous(memory_format=torch.channels_last), "image"), training_mean(IMAGES, "image")
    )


def test_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match="dataset.mean=median: must be image, channel or a number"):
        training_mean(IMAGES, "median")  # type: ignore[arg-type]
