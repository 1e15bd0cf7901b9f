"""Data sets -> uint8 tensors -> float batches on the device.

    splits = data.load("cifar10+", "outputs/data", validation=5000)
    mean = data.training_mean(splits.train.images, "image")
    loader = data.DeviceLoader(splits.train, 256, seed=0, augment="crop_mirror", mean=mean)
    images, labels = loader.batch(step=0)

Light to import (torch and numpy): torchvision is imported only while it downloads something.
"""

from .loader import DeviceLoader, Loader, in_order
from .mapped import MappedSet
from .mean import training_mean
from .registry import DATASETS, FACES, load
from .sets import ImageSet, PairSet, Splits
from .stream import StreamLoader, stream_in_order

__all__ = [
    "DATASETS",
    "FACES",
    "DeviceLoader",
    "ImageSet",
    "Loader",
    "MappedSet",
    "PairSet",
    "Splits",
    "StreamLoader",
    "in_order",
    "load",
    "stream_in_order",
    "training_mean",
]
