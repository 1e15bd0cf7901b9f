"""Sets in files: the same batches as on the device, and only the rows that are asked for."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from data import DeviceLoader, ImageSet, MappedSet, StreamLoader, in_order, stream_in_order
from data.split import take_balanced
from data.stream import AHEAD

MEAN = torch.tensor([10.0, 20.0, 30.0]).view(3, 1, 1)
ROWS = torch.tensor([3, 0, 7, 8, 9, 12, 15, 16, 17, 28, 29])


@pytest.fixture
def mapped(tmp_path: Path) -> MappedSet:
    """11 of the 30 images of a file, not in its order."""
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (30, 3, 8, 6), dtype=np.uint8))
    return MappedSet(np.load(path, mmap_mode="r"), ROWS, torch.arange(11) % 3, ("a", "b", "c"))


@pytest.fixture
def in_memory(mapped: MappedSet) -> ImageSet:
    return ImageSet(torch.from_numpy(np.array(mapped.source))[ROWS], mapped.labels, mapped.class_names)


def test_it_is_the_set_that_it_would_be_in_memory(mapped: MappedSet, in_memory: ImageSet) -> None:
    assert (len(mapped), mapped.num_classes, mapped.image_shape) == (11, 3, (3, 8, 6))
    assert mapped.nbytes == in_memory.images.numel()
    for images in (mapped.images, mapped.to("cpu").images, torch.cat(list(mapped.chunks(4)))):
        assert torch.equal(images, in_memory.images)
    assert [len(chunk) for chunk in mapped.chunks(4)] == [4, 4, 3]


def test_a_part_is_the_part_it_would_be_in_memory(mapped: MappedSet, in_memory: ImageSet) -> None:
    for part, expected in zip(
        take_balanced(mapped, 5, purpose="x"), take_balanced(in_memory, 5, purpose="x"), strict=True
    ):
        assert isinstance(part, MappedSet)
        assert torch.equal(part.images, expected.images) and torch.equal(part.labels, expected.labels)


@pytest.mark.parametrize("augment", ["none", "mirror", "crop_mirror"])
@pytest.mark.parametrize("batch_size", [1, 4, 11, 25])
def test_batches_are_those_of_the_set_on_the_device(
    mapped: MappedSet, in_memory: ImageSet, augment: str, batch_size: int
) -> None:
    options = {"seed": 3, "augment": augment, "mean": MEAN, "scale": 2.0}
    streamed, held = (
        StreamLoader(mapped, batch_size, **options),
        DeviceLoader(in_memory, batch_size, **options),
    )
    for step in (*range(12), 5, 6, 1_000, 2):  # in order, and wherever a run goes on
        assert all(map(torch.equal, streamed.batch(step), held.batch(step)))
        assert streamed.epoch(step) == held.epoch(step)


def test_the_next_batches_are_read_before_they_are_asked_for(
    mapped: MappedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = StreamLoader(mapped, 4, seed=0, mean=MEAN)
    loader.batch(0)
    while not all(coming.done() for _, coming in loader._reading):
        pass
    monkeypatch.setattr(MappedSet, "gather", lambda *_, **__: 1 / 0)
    loader.batch(1)
    loader.batch(2)


def test_a_file_that_cannot_be_read_is_an_error_of_the_step(mapped: MappedSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MappedSet, "gather", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        StreamLoader(mapped, 4, seed=0, mean=MEAN).batch(0)


@pytest.mark.parametrize("batch_size", [1, 4, 11, 25])
def test_a_pass_in_order_is_that_of_the_set_on_the_device(
    mapped: MappedSet, in_memory: ImageSet, batch_size: int
) -> None:
    passes = [
        list(stream_in_order(mapped, batch_size, mean=MEAN, scale=2.0)),
        list(in_order(in_memory, batch_size, mean=MEAN, scale=2.0)),
    ]
    for one, other in zip(*passes, strict=True):
        assert all(map(torch.equal, one, other))


@pytest.mark.parametrize("steps", [range(40), (0, 1, 7, 8, 3, 4, 5, 5, 30)])
def test_batches_that_were_handed_out_are_not_written_to(mapped: MappedSet, steps: Sequence[int]) -> None:
    """The memory that images are read to is used again."""
    loader = StreamLoader(mapped, 3, seed=0, mean=MEAN)
    handed = [(step, *loader.batch(step)) for step in steps]
    for step, images, labels in handed:
        again = StreamLoader(mapped, 3, seed=0, mean=MEAN).batch(step)
        assert torch.equal(images, again[0]) and torch.equal(labels, again[1])


def test_a_stream_reads_into_so_many_pieces_of_memory_and_no_more(
    mapped: MappedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather, seen = MappedSet.gather, set()

    def watched(self: MappedSet, positions: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        if self is mapped:  # the loaders of the tests before may still be reading ahead
            seen.add(out.data_ptr())
        return gather(self, positions, out)

    monkeypatch.setattr(MappedSet, "gather", watched)
    loader = StreamLoader(mapped, 4, seed=0, mean=MEAN)
    for step in range(30):
        loader.batch(step)
    for _, coming in loader._reading:
        coming.result()
    assert len(seen) == AHEAD + 1
    seen.clear()
    assert len(list(stream_in_order(mapped, 2, mean=MEAN))) == 6 and len(seen) == 2


def test_a_jump_waits_for_the_slowest_of_what_is_being_read(mapped: MappedSet, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = StreamLoader(mapped, 4, seed=0, mean=MEAN).batch(51)
    loader, gather = StreamLoader(mapped, 4, seed=0, mean=MEAN), MappedSet.gather
    slowest = loader._indices(1)

    def slow(self: MappedSet, positions: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        time.sleep(0.2 * torch.equal(positions, slowest))
        return gather(self, positions, out)

    monkeypatch.setattr(MappedSet, "gather", slow)
    for step in (0, 50):
        loader.batch(step)
    time.sleep(0.3)  # step 1, which nobody asks for, would be read into the memory of step 51
    assert all(map(torch.equal, loader.batch(51), expected))


def test_a_jump_waits_for_what_is_being_read_into_the_memory(
    mapped: MappedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather = MappedSet.gather

    def slow(self: MappedSet, positions: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        time.sleep(0.01)
        return gather(self, positions, out)

    expected = [StreamLoader(mapped, 4, seed=0, mean=MEAN).batch(step) for step in (50, 51)]
    monkeypatch.setattr(MappedSet, "gather", slow)
    loader = StreamLoader(mapped, 4, seed=0, mean=MEAN)
    loader.batch(0)  # steps 1 .. 4 are being read
    for step, batch in zip((50, 51), expected, strict=True):
        assert all(map(torch.equal, loader.batch(step), batch))
