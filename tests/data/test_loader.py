"""Batches: full, resumable, every image once an epoch."""

import itertools

import pytest
import torch

import data
from data import DeviceLoader, ImageSet, in_order

MEAN = torch.tensor([10.0, 20.0, 30.0]).view(3, 1, 1)


def numbered(count: int) -> ImageSet:
    """Images whose pixels are random and whose label is their position."""
    images = torch.randint(0, 256, (count, 3, 8, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet(images, torch.arange(count), tuple(map(str, range(count))))


def loader(count: int = 50, batch_size: int = 16, seed: int = 0, **options) -> DeviceLoader:
    return DeviceLoader(numbered(count), batch_size, seed=seed, **{"mean": MEAN, **options})


def labels(source: DeviceLoader, steps: int) -> torch.Tensor:
    return torch.cat([source.batch(step)[1] for step in range(steps)])


def test_images_are_bytes_less_the_mean_over_the_scale() -> None:
    images, positions = loader(scale=128.0).batch(3)
    assert images.dtype == torch.float32 and positions.dtype == torch.int64
    assert torch.equal(images, (numbered(50).images[positions].float() - MEAN) / 128.0)


@pytest.mark.parametrize(("count", "batch_size"), [(50, 16), (50, 50), (7, 3), (5, 16), (1, 4), (8, 4)])
def test_every_batch_is_full_and_every_epoch_a_permutation(count: int, batch_size: int) -> None:
    source = loader(count, batch_size)
    assert all(len(source.batch(step)[0]) == batch_size for step in range(10))
    stream = labels(source, 60)
    for epoch in range(len(stream) // count):
        assert stream[epoch * count : (epoch + 1) * count].sort().values.tolist() == list(range(count))


@pytest.mark.parametrize("augment", ["none", "mirror", "crop_mirror"])
@pytest.mark.parametrize("step", [0, 3, 4, 1_000, 10**6])
def test_a_batch_depends_on_seed_and_step_alone(augment: str, step: int) -> None:
    used = loader(augment=augment)
    for earlier in (5, 2, 17):
        used.batch(earlier)
    torch.manual_seed(step)
    for one, other in zip(used.batch(step), loader(augment=augment).batch(step), strict=True):
        assert torch.equal(one, other)


def test_torch_s_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    loader(augment="crop_mirror").batch(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_epochs_have_different_orders() -> None:
    stream = labels(loader(50, 50), 3).view(3, 50)
    assert len(stream.unique(dim=0)) == 3


def test_seeds_have_different_orders_and_augmentations() -> None:
    one, other = (loader(1, 64, seed=seed, augment="crop_mirror").batch(0)[0] for seed in (0, 1))
    assert not torch.equal(one, other)
    assert not torch.equal(labels(loader(seed=0), 3), labels(loader(seed=1), 3))


def test_the_augmentation_of_a_step_is_not_drawn_as_the_order_of_an_epoch() -> None:
    """Of the same numbers the first images of an epoch would always be cropped alike."""
    source = loader()
    assert source._order_key != source._augment_key


def test_steps_draw_different_augmentations() -> None:
    source = loader(1, 64, augment="crop_mirror")
    assert not torch.equal(source.batch(0)[0], source.batch(1)[0])


def test_augmentation_leaves_order_and_labels_alone() -> None:
    assert torch.equal(labels(loader(augment="crop_mirror"), 10), labels(loader(), 10))


def test_padding_is_zero_after_the_mean() -> None:
    mean = torch.rand(3, 8, 6)
    images, _ = DeviceLoader(white(), 200, seed=0, augment="crop_mirror", mean=mean).batch(0)
    inside = 255.0 - mean
    expected = torch.cat([torch.zeros(1), inside.flatten()])
    assert torch.isin(images, expected).all()
    assert (images == 0).any()


def white() -> ImageSet:
    return ImageSet(torch.full((1, 3, 8, 6), 255, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), ("white",))


def test_iteration_starts_at_step_0_and_has_no_end() -> None:
    source = loader(5, 3)
    seen = torch.cat([batch for _, batch in itertools.islice(source, 20)])
    assert torch.equal(seen, labels(loader(5, 3), 20))


def test_epoch_counts_passes_over_the_set() -> None:
    source = loader(50, 20)
    assert [source.epoch(step) for step in (0, 1, 5)] == [0.0, 0.4, 2.0]


def test_orders_of_past_epochs_are_dropped() -> None:
    source = loader(10, 4)
    labels(source, 40)
    assert len(source._orders) == 1


def test_the_order_of_an_epoch_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    source, drawn = loader(50, 16), []
    order = source._order
    monkeypatch.setattr(source, "_order", lambda epoch: drawn.append(epoch) or order(epoch))
    labels(source, 13)  # 208 of 250 images
    assert drawn == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("batch_size", [1, 7, 10, 64])
def test_in_order_shows_every_image_once_as_it_is(batch_size: int) -> None:
    image_set = numbered(10)
    batches = list(in_order(image_set, batch_size, mean=MEAN, scale=2.0))
    assert torch.equal(torch.cat([batch for _, batch in batches]), image_set.labels)
    assert torch.equal(torch.cat([images for images, _ in batches]), (image_set.images.float() - MEAN) / 2.0)


def test_the_set_stays_bytes() -> None:
    image_set = numbered(10)
    before = image_set.images.clone()
    DeviceLoader(image_set, 4, seed=0, mean=MEAN, augment="crop_mirror").batch(0)
    next(in_order(image_set, 4, mean=MEAN))
    assert torch.equal(image_set.images, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_step_on_a_gpu_never_waits(never_waits) -> None:
    source = loader(50, 4, augment="crop_mirror", scale=2.0, device="cuda")
    source.batch(0)
    with never_waits():
        for step in range(1, 40):  # three epochs
            source.batch(step)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_order_is_the_same_on_cpu_and_gpu() -> None:
    assert torch.equal(labels(loader(), 20), labels(loader(device="cuda"), 20).cpu())


def test_the_package_exports_what_it_promises() -> None:
    sets = {"load", "DATASETS", "FACES", "ImageSet", "MappedSet", "PairSet", "Splits", "training_mean"}
    batches = {"Loader", "DeviceLoader", "StreamLoader", "in_order", "stream_in_order"}
    assert sets | batches == set(data.__all__)
