"""What a data set is once it is read: uint8 images, integer labels, and the names of the classes."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

CHUNK = 1_024  # images at a time, where a set is read from end to end


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images as bytes: a quarter of the memory of floats, and the format of the files."""

    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64, in 0 .. num_classes - 1
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.dim() != 4:
            raise ValueError(f"images must be uint8 (N, C, H, W), got {images.dtype} {tuple(images.shape)}")
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise ValueError(f"labels must be int64 ({len(images)},), got {labels.dtype} {tuple(labels.shape)}")
        if len(self) and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise ValueError(f"labels must lie in 0 .. {self.num_classes - 1}, the number of class names less one")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same set on the device, as bytes."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def subset(self, indices: Tensor) -> "ImageSet":
        """The images at `indices` (K,) int64, in that order."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def relabelled(self, labels: Tensor, class_names: tuple[str, ...]) -> "ImageSet":
        """The same images with other labels."""
        return replace(self, labels=labels, class_names=class_names)

    def chunks(self, size: int = CHUNK) -> Iterator[Tensor]:
        """All images in their order, `size` at a time: (<= size, C, H, W) uint8."""
        yield from torch.split(self.images, size)


@dataclass(frozen=True, eq=False)
class PairSet:
    """Image pairs, and for each whether it shows one person: what a network is verified on.

    Pair k is images left[k] and right[k] of `images`, (P,) int64; same: (P,) bool. The threshold comes from the pairs
    of `tune`, (left, right, same), or for each fold from the others: folds is (P,) int64. One of the two is given.
    """

    name: str
    images: ImageSet
    left: Tensor
    right: Tensor
    same: Tensor
    folds: Tensor | None = None
    tune: tuple[Tensor, Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        assert (self.folds is None) != (self.tune is None)


@dataclass(frozen=True, eq=False)
class Splits:
    """The parts of one problem; `val` is None when the network trains on all training images."""

    train: ImageSet
    val: ImageSet | None
    test: ImageSet
    # Of faces:
    held_out: PairSet | None = None  # of people set apart, to choose by
    verification: tuple[PairSet, ...] = ()  # to report, never to choose by
    notes: tuple[str, ...] = ()  # what should be said of them
    preparation: dict[str, Any] | None = None  # how they were made, and other images have to be

    @property
    def pairs(self) -> tuple[PairSet, ...]:
        return (() if self.held_out is None else (self.held_out,)) + self.verification

    def sha256(self) -> str:
        """Which data a number belongs to: a digest of all pixels, labels and pairs, their shapes and their split.

        The folds of pairs and the pairs that their threshold comes from, which a protocol gives, are not in it.
        """
        digest = hashlib.sha256()
        for name, part in (("train", self.train), ("val", self.val), ("test", self.test)):
            if part is None:
                digest.update(f"{name} none\n".encode())
                continue
            digest.update(f"{name} {(len(part), *part.image_shape)}\n".encode())
            for images in part.chunks():
                digest.update(images.contiguous().numpy().data)
            digest.update(part.labels.numpy().astype("<i8").data)  # the same digest on a big-endian machine
        for pairs in self.pairs:
            digest.update(f"verification {pairs.name}\n".encode())
            for images in pairs.images.chunks():
                digest.update(images.contiguous().numpy().data)
            for column in (pairs.left, pairs.right, pairs.same):
                digest.update(column.numpy().astype("<i8").data)
        return digest.hexdigest()
