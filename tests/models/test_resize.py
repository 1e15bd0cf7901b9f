"""`input_size`: images of another size are resized before the first convolution."""

import torch
from torch import nn

import models


def build(image_shape: tuple[int, int, int], input_size: tuple[int, int] | None) -> models.Backbone:
    return models.build("face", image_shape, width=0.02, input_size=input_size)


def test_without_an_input_size_nothing_is_resized():
    assert not any(isinstance(layer, nn.Upsample) for layer in build((3, 32, 32), None).modules())


def test_the_network_is_that_of_the_input_size():
    resized, native = build((3, 40, 40), (64, 48)), build((3, 64, 48), None)
    assert [p.shape for p in resized.parameters()] == [p.shape for p in native.parameters()]


def test_resizing_adds_nothing_to_the_state_dict():
    assert build((3, 40, 40), (64, 48)).state_dict().keys() == build((3, 64, 48), None).state_dict().keys()


def test_images_are_resized_bilinearly():
    images = torch.randn(2, 3, 40, 40)
    resized, native = build((3, 40, 40), (64, 48)).eval(), build((3, 64, 48), None).eval()
    native.load_state_dict(resized.state_dict())
    expected = nn.functional.interpolate(images, (64, 48), mode="bilinear", align_corners=False)
    assert torch.equal(resized(images), native(expected))


def test_images_that_have_the_input_size_stay_as_they_are():
    images = torch.randn(2, 3, 64, 48)
    assert torch.equal(build((3, 64, 48), (64, 48)).resize(images), images)


def test_images_too_small_for_the_pools_can_be_resized():
    network = build((3, 4, 4), (64, 48))
    assert network(torch.randn(2, 3, 4, 4)).shape == (2, network.feature_size)
