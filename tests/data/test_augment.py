"""Batched augmentation against one image at a time."""

import pytest
import torch
from torch import Tensor

from data.augment import augment, crop, draw_flips, draw_offsets, mirror

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 7, 5), (2, 1, 1)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def crop_one(image: Tensor, top: int, left: int, padding: int) -> Tensor:
    channels, height, width = image.shape
    padded = torch.zeros(channels, height + 2 * padding, width + 2 * padding)
    padded[:, padding : padding + height, padding : padding + width] = image
    return padded[:, top : top + height, left : left + width]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_crop_equals_one_image_at_a_time(shape: tuple[int, ...], padding: int) -> None:
    images = torch.randn(50, *shape, generator=generator())
    offsets = draw_offsets(50, generator(), padding)
    expected = [crop_one(image, *offset, padding) for image, offset in zip(images, offsets.tolist(), strict=True)]
    assert torch.equal(crop(images, offsets, padding), torch.stack(expected))


@pytest.mark.parametrize("corner", [(0, 0), (0, 8), (8, 0), (8, 8)])
def test_the_extreme_windows_are_inside(corner: tuple[int, int]) -> None:
    images = torch.randn(2, 3, 6, 6, generator=generator())
    windows = crop(images, torch.tensor([corner, corner]), 4)
    assert torch.equal(windows[1], crop_one(images[1], *corner, 4))


@pytest.mark.parametrize("shape", SHAPES)
def test_mirror_equals_one_image_at_a_time(shape: tuple[int, ...]) -> None:
    images = torch.randn(50, *shape, generator=generator())
    flips = draw_flips(50, generator())
    expected = [image.flip(-1) if flip else image for image, flip in zip(images, flips.tolist(), strict=True)]
    assert torch.equal(mirror(images, flips), torch.stack(expected))


def test_images_in_channels_last_memory_are_cropped_alike() -> None:
    images = torch.randn(8, 3, 6, 5, generator=generator())
    offsets = draw_offsets(8, generator())
    assert torch.equal(crop(images.contiguous(memory_format=torch.channels_last), offsets, 4), crop(images, offsets, 4))


def test_arguments_stay_as_they_are() -> None:
    images = torch.randn(8, 3, 6, 5, generator=generator())
    before = images.clone()
    augment(images, "crop_mirror", generator())
    assert torch.equal(images, before)


def test_every_offset_is_equally_likely() -> None:
    counts = torch.stack([column.bincount() for column in draw_offsets(90_000, generator()).T])
    assert counts.shape == (2, 9)
    assert bool((counts - 10_000).abs().max() < 500)  # 5 standard deviations


def test_half_of_the_images_are_mirrored() -> None:
    assert abs(int(draw_flips(10_000, generator()).sum()) - 5_000) < 250  # 5 standard deviations


def test_crop_mirror_crops_and_then_mirrors_with_what_it_draws_in_this_order() -> None:
    images, drawn = torch.randn(8, 3, 6, 5, generator=generator()), generator(1)
    expected = crop(images, draw_offsets(8, drawn), 4)
    assert torch.equal(augment(images, "crop_mirror", generator(1)), mirror(expected, draw_flips(8, drawn)))


def test_mirror_alone_never_moves_an_image() -> None:
    images = torch.rand(64, 1, 4, 4, generator=generator())
    shown = augment(images, "mirror", generator())
    assert all(any(torch.equal(s, i) for i in (image, image.flip(-1))) for s, image in zip(shown, images, strict=True))
