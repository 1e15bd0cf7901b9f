"""checkpoint.pt: plain, whole, and harmless whoever wrote it."""

import errno
import math
import os
import pickle
import random
import zipfile

import pytest
import torch

from lsoftmax.engine import checkpoint
from lsoftmax.errors import UserError

# torch says so of bytes that are no pickle of its own.
pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")


@pytest.fixture(scope="module")
def good(tools, tmp_path_factory):
    """The bytes of a checkpoint in the middle of a run."""
    trainer = tools.trainer(tmp_path_factory.mktemp("good"), steps=5)
    tools.go(trainer)
    return trainer.path.read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.pt"


def outcome(path):
    """The loaded state, or the message; any other exception passes through."""
    try:
        return checkpoint.load(path)
    except UserError as error:
        return str(error)


def test_it_holds_all_that_a_run_needs(path, good):
    path.write_bytes(good)
    needed = {"backbone", "criterion", "optimizer", "progress", "random", "identity", "data_sha256"}
    assert needed <= checkpoint.load(path).keys()


def test_it_is_readable_with_weights_only(path, good):
    path.write_bytes(good)
    assert torch.load(path, weights_only=True)["progress"]["step"] == 5


def test_it_holds_plain_containers_and_tensors_only(path, good):
    path.write_bytes(good)
    plain = (int, float, str, bool, type(None), torch.Tensor)

    def check(value):
        if isinstance(value, dict):
            check(list(value.items()))
        elif isinstance(value, list | tuple):
            [check(item) for item in value]
        else:
            assert isinstance(value, plain), type(value)

    check(torch.load(path, weights_only=True))


def test_what_is_saved_is_what_is_loaded(tools, path):
    state = {"weights": torch.randn(3, 2), "plain": [1, 2.5, None, "x", {"y": (1, 2)}]}
    checkpoint.save(path, state)
    tools.check_same(checkpoint.load(path), {"format": checkpoint.FORMAT, **state})


def test_a_checkpoint_replaces_the_last_one_and_leaves_nothing_beside(path):
    for step in (1, 2):
        checkpoint.save(path, {"step": step})
    assert checkpoint.load(path)["step"] == 2 and os.listdir(path.parent) == ["checkpoint.pt"]


@pytest.mark.parametrize("part", [0.0, 1e-4, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 0.9999])
def test_a_truncated_checkpoint_is_an_error_of_one_line(path, good, part):
    path.write_bytes(good[: math.floor(part * len(good))])
    with pytest.raises(UserError, match=r"^the checkpoint .*damaged[^\n]*$"):
        checkpoint.load(path)


def test_a_checkpoint_truncated_anywhere_is_an_error(path, good):
    for length in range(0, len(good), 97):
        path.write_bytes(good[:length])
        assert isinstance(outcome(path), str), length


@pytest.mark.parametrize("start", [b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x02}q\x00", b"\x1f\x8b", b"ustar"])
def test_random_bytes_are_an_error_of_one_line(path, start):
    noise = random.Random(0)
    for _ in range(100):
        path.write_bytes(start + noise.randbytes(noise.randint(0, 300)))
        message = outcome(path)
        assert isinstance(message, str) and "\n" not in message


def test_wrong_bytes_in_the_pickle_are_an_error_or_harmless(path, good, tmp_path):
    """Each in a valid archive: what the reader of archives would refuse is not what is tested here."""
    noise = random.Random(0)
    path.write_bytes(good)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    for _ in range(300):
        damaged = bytearray(members[name])
        damaged[noise.randrange(2000)] = noise.randrange(256)
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, bytes(damaged) if member == name else content)
        assert isinstance(outcome(path), str | dict)


class Bomb:
    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (self.victim,)


@pytest.mark.parametrize("writer", ["pickle", "torch", "torch legacy"])
def test_a_pickle_bomb_is_an_error_and_does_not_go_off(path, tmp_path, writer):
    bomb = {"format": checkpoint.FORMAT, "backbone": Bomb(str(tmp_path / "crater"))}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(bomb))
    else:
        torch.save(bomb, path, _use_new_zipfile_serialization=writer == "torch")
    message = outcome(path)
    assert isinstance(message, str) and "\n" not in message and not (tmp_path / "crater").exists()


@pytest.mark.parametrize("state", [[], {}, None, torch.zeros(3), {"format": 0}, {"format": "1"}, {"step": 3}])
def test_something_else_is_refused(path, state):
    torch.save(state, path)
    with pytest.raises(UserError, match="not a checkpoint of this version"):
        checkpoint.load(path)


def test_a_missing_checkpoint_is_an_error(path):
    assert isinstance(outcome(path), str)


def test_the_error_names_file_and_remedy(path):
    path.write_bytes(b"no")
    assert f"delete {path}" in outcome(path)


@pytest.mark.parametrize("key", ["backbone", "criterion", "optimizer", "progress", "random", "data_sha256"])
def test_a_checkpoint_that_lacks_a_part_is_an_error(tools, path, good, key):
    path.write_bytes(good)
    state = torch.load(path, weights_only=True)
    del state[key]
    torch.save(state, path)
    with pytest.raises(UserError):
        tools.trainer(path.parent).resume()


def test_a_checkpoint_of_another_network_is_an_error(tools, path, good):
    path.write_bytes(good)
    other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 5))
    with pytest.raises(UserError):
        tools.trainer(path.parent, backbone=other).resume()


def test_a_checkpoint_of_other_data_is_refused(tools, path, good):
    path.write_bytes(good)
    with pytest.raises(
        UserError, match=r"^the checkpoint .* made on other data \(sha256 aaaaaaaaaaaa, now bbbbbbbbbbbb\)"
    ):
        tools.trainer(path.parent, data_sha256="b" * 64).resume()


def test_overwrite_begins_anew_on_other_data(tools, path, good):
    path.write_bytes(good)
    path.with_name("anchor.pt").write_bytes(good)
    assert not tools.trainer(path.parent, data_sha256="b" * 64, overwrite=True).resume()
    assert not path.exists() and not path.with_name("anchor.pt").exists()


def test_refused_data_leaves_the_checkpoint_alone(tools, path, good):
    path.write_bytes(good)
    with pytest.raises(UserError):
        tools.trainer(path.parent, data_sha256="b" * 64).resume()
    assert path.read_bytes() == good


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_too_little_memory_is_no_fault_of_the_checkpoint(path, good, monkeypatch, error):
    def load(*_, **__):
        raise error

    path.write_bytes(good)
    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(type(error)):
        checkpoint.load(path)


def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(path, good, monkeypatch):
    def load(*_, **__):
        raise PermissionError(13, "Permission denied")

    path.write_bytes(good)
    monkeypatch.setattr(torch, "load", load)
    assert outcome(path) == f"the checkpoint {path} cannot be read: Permission denied"


@pytest.mark.parametrize("size", [0, 1, 100, 5_000, 20_000])
def test_a_checkpoint_that_finds_no_room_leaves_the_last_one(tools, tmp_path, size):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"step": 1})
    with tools.file_size_limit(size), pytest.raises(UserError, match=r"^cannot write .*File too large[^\n]*$"):
        checkpoint.save(path, {"step": 2, "weights": torch.randn(10_000)})
    assert checkpoint.load(path)["step"] == 1 and os.listdir(tmp_path) == ["checkpoint.pt"]


def test_a_run_that_finds_no_room_ends_with_an_error_and_goes_on_later(tools, tmp_path, monkeypatch):
    trainer = tools.trainer(tmp_path / "full")
    save = torch.save
    monkeypatch.setattr(
        torch, "save", lambda state, file: save(state, file) if state["progress"]["step"] < 10 else _full()
    )
    with pytest.raises(UserError, match="No space left"):
        tools.go(trainer)
    monkeypatch.setattr(torch, "save", save)
    whole = tools.outcome(tools.go(tools.trainer(tmp_path / "whole")))
    tools.check_same(tools.outcome(tools.go_on(tmp_path / "full")), whole)


def _full():
    raise OSError(errno.ENOSPC, "No space left on device")
