"""What a data set is once it is read: uint8 images, integer labels, and the names of the classes."""

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images as bytes: a quarter of the memory of floats, and the format of the files."""

    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64, in 0 .. num_classes - 1
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        assert self.images.dtype == torch.uint8 and self.images.dim() == 4
        assert self.labels.dtype == torch.int64 and self.labels.shape == self.images.shape[:1]
        assert len(self) == 0 or (int(self.labels.min()) >= 0 and int(self.labels.max()) < self.num_classes)

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


@dataclass(frozen=True, eq=False)
class Splits:
    """The parts of one problem; `val` is None when the network trains on all training images."""

    train: ImageSet
    val: ImageSet | None
    test: ImageSet

    def sha256(self) -> str:
        """Which data a number belongs to: a digest of all pixels and labels, their shapes and their split."""
        digest = hashlib.sha256()
        for name, part in (("train", self.train), ("val", self.val), ("test", self.test)):
            if part is None:
                digest.update(f"{name} none\n".encode())
                continue
            digest.update(f"{name} {tuple(part.images.shape)}\n".encode())
            digest.update(part.images.contiguous().numpy().data)
            digest.update(part.labels.numpy().astype("<i8").data)  # the same digest on a big-endian machine
        return digest.hexdigest()
