"""What tests of several packages need."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import torch


@contextmanager
def gpu_is_never_waited_for() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says once a process that this mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def never_waits() -> Callable[[], AbstractContextManager[None]]:
    """A context in which whatever waits for a GPU is an error."""
    return gpu_is_never_waited_for
