"""Random states are taken and put back."""

import random

import numpy as np
import pytest
import torch

from lsoftmax.engine import checkpoint
from lsoftmax.engine.rng import random_state, restore_random_state


def draw():
    return torch.randn(3).tolist(), random.random(), random.gauss(0, 1), np.random.rand(3).tolist(), np.random.randn()


@pytest.fixture(autouse=True)
def odd_draws():
    """An odd number of normal draws: the second of a pair is waiting inside the generators."""
    random.gauss(0, 1), np.random.randn()


def test_a_restored_state_draws_the_same_numbers():
    state = random_state()
    first = draw()
    restore_random_state(state)
    assert draw() == first


def test_a_state_survives_a_checkpoint(tmp_path):
    checkpoint.save(tmp_path / "state.pt", {"random": random_state()})
    first = draw()
    restore_random_state(checkpoint.load(tmp_path / "state.pt")["random"])
    assert draw() == first


def test_taking_the_state_draws_nothing():
    state = random_state()
    random_state()
    first = draw()
    restore_random_state(state)
    assert draw() == first


def test_a_state_without_numpy_leaves_numpy_alone():
    state = {key: value for key, value in random_state().items() if key != "numpy"}
    np.random.seed(7)
    restore_random_state(state)
    after = np.random.rand()
    np.random.seed(7)
    assert np.random.rand() == after


def test_a_state_of_more_cards_than_there_are_now_is_restored(monkeypatch):
    restored = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", restored.extend)
    restore_random_state(random_state() | {"cuda": ["first", "second"]})
    assert restored == ["first"]
