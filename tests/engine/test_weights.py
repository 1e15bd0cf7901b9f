"""model.safetensors: what was saved comes back, and what was not made by us is refused in one line."""

import json
import os
import random
import struct

import pytest
import torch
from safetensors.torch import save_file

from lsoftmax import losses
from lsoftmax.engine.weights import load_into, read_weights, save_weights
from lsoftmax.errors import UserError

METADATA = {"dataset": {"name": "tiny", "mean": "image"}, "num_classes": 3, "none": None, "list": [1, 2.5]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def network(tools):
    network = tools.network()
    network(torch.randn(8, 3, 6, 6))  # running statistics that are not the initial ones
    return network


@pytest.fixture
def criterion(tools):
    return losses.create("lsoftmax", 5, tools.classes)


@pytest.fixture
def good(path, network, criterion):
    save_weights(path, network, criterion, torch.randn(3, 6, 6), METADATA)
    return path.read_bytes()


def message(call, *arguments):
    with pytest.raises(UserError, match=r"^[^\n]+$") as caught:
        call(*arguments)
    return str(caught.value)


# --- round trip


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_weights_come_back_to_the_last_bit(tools, path, network, criterion, memory_format):
    network.to(memory_format=memory_format)
    save_weights(path, network, criterion, torch.zeros(3, 1, 1), {})
    other, other_criterion = tools.network(), losses.create("lsoftmax", 5, tools.classes)
    tensors, _ = read_weights(path)
    load_into(other, tensors, "backbone", path)
    load_into(other_criterion, tensors, "criterion", path)
    tools.check_same(other.state_dict(), network.state_dict())
    tools.check_same(other_criterion.state_dict(), criterion.state_dict())


def test_names_are_those_of_the_design(path, good, network):
    names = {f"backbone.{name}" for name in network.state_dict()} | {"criterion.weight", "input.mean"}
    assert read_weights(path)[0].keys() == names


@pytest.mark.parametrize("length", range(8))
def test_the_tensors_stay_aligned_however_long_the_metadata_are(path, network, criterion, length):
    save_weights(path, network, criterion, torch.zeros(3, 1, 1), {"note": "x" * length})
    assert struct.unpack("<Q", path.read_bytes()[:8])[0] % 8 == 0


def test_the_mean_comes_back(path, network, criterion):
    mean = torch.randn(3, 6, 6)
    save_weights(path, network, criterion, mean, {})
    assert torch.equal(read_weights(path)[0]["input.mean"], mean)


def test_metadata_comes_back(path, good):
    assert read_weights(path)[1] == METADATA


def test_a_file_without_metadata_can_be_read(path):
    save_file({"backbone.x": torch.ones(2)}, path)
    assert read_weights(path)[1] == {}


def test_saving_leaves_nothing_beside(path, good):
    assert os.listdir(path.parent) == ["model.safetensors"]


def test_a_full_disk_leaves_the_old_file(tools, path, good, network, criterion):
    with tools.file_size_limit(100):
        message(save_weights, path, network, criterion, torch.zeros(3, 1, 1), {})
    assert path.read_bytes() == good


# --- damaged and hostile files


def test_a_missing_file_is_named(path):
    assert message(read_weights, path) == f"there is no weights file {path}"


def test_a_folder_is_refused(path):
    path.mkdir()
    message(read_weights, path)


def test_a_truncated_file_is_refused(path, good):
    for length in [0, 1, 7, 8, 9, 50, len(good) // 2, len(good) - 1]:
        path.write_bytes(good[:length])
        assert str(path) in message(read_weights, path)


HEADERS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xff",
    b'{"a": 3}',
    b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
    b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400000000000]}}',
    b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
    b'{"a": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 4]}}',
    b'{"a": {"dtype": "X32", "shape": [1], "data_offsets": [0, 4]}}',
    b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}',
    b'{"__metadata__": {"x": 3}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
    b'{"__metadata__": {"x": "no json"}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
    b'{"__metadata__": {"x": ""}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_hostile_header_is_refused(path, header):
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    message(read_weights, path)


@pytest.mark.parametrize("length", [0, 2**31, 2**63, 2**64 - 1])
def test_a_header_length_that_lies_is_refused(path, good, length):
    path.write_bytes(struct.pack("<Q", length) + good[8:])
    message(read_weights, path)


def test_metadata_nested_beyond_reason_is_refused(path):
    save_file({"a": torch.ones(1)}, path, {"x": "[" * 100_000})
    message(read_weights, path)


def test_wrong_bytes_in_the_header_are_refused_or_harmless(path, good):
    noise = random.Random(0)
    for _ in range(300):
        damaged = bytearray(good)
        damaged[noise.randrange(900)] = noise.randrange(256)
        path.write_bytes(damaged)
        try:
            read_weights(path)
        except UserError as error:
            assert "\n" not in str(error)


def test_a_pickle_is_refused(path, network):
    torch.save(network.state_dict(), path)
    message(read_weights, path)


# --- what does not fit


def test_a_missing_tensor_is_named(path, good, network):
    tensors = read_weights(path)[0]
    del tensors["backbone.5.bias"]
    assert "lacks backbone.5.bias" in message(load_into, network, tensors, "backbone", path)


def test_a_tensor_too_many_is_named(path, good, network):
    tensors = read_weights(path)[0] | {"backbone.7.weight": torch.zeros(1)}
    assert "holds backbone.7.weight" in message(load_into, network, tensors, "backbone", path)


def test_a_wrong_shape_is_named_with_both(path, good, network):
    tensors = read_weights(path)[0] | {"backbone.5.bias": torch.zeros(7)}
    text = message(load_into, network, tensors, "backbone", path)
    assert "backbone.5.bias has shape (7,), the network needs (5,)" in text


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_not_finite_are_named(path, good, network, value):
    tensors = read_weights(path)[0]
    tensors["backbone.5.bias"][2] = value
    assert "backbone.5.bias holds values that are not finite" in message(load_into, network, tensors, "backbone", path)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_weights_of_another_kind_of_number_are_refused(path, good, network, dtype):
    tensors = read_weights(path)[0]
    tensors["backbone.5.weight"] = torch.ones(5, 64).to(dtype)
    assert "backbone.5.weight" in message(load_into, network, tensors, "backbone", path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_taken(path, good, network, dtype):
    tensors = {name: t.to(dtype) if t.is_floating_point() else t for name, t in read_weights(path)[0].items()}
    load_into(network, tensors, "backbone", path)
    assert network[5].weight.dtype == torch.float32


def test_a_refused_file_changes_no_weight(tools, path, good, network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    tensors = {name: torch.zeros_like(value) for name, value in read_weights(path)[0].items()}
    del tensors["backbone.5.bias"]
    message(load_into, network, tensors, "backbone", path)
    tools.check_same(dict(network.state_dict()), before)


def test_what_belongs_to_another_part_is_left_alone(path, good, criterion):
    others = {"criterion_of_another.weight": torch.zeros(1)}
    load_into(criterion, read_weights(path)[0] | others, "criterion", path)


def test_metadata_is_json_that_anyone_can_read(good):
    size = struct.unpack("<Q", good[:8])[0]
    assert json.loads(json.loads(good[8 : 8 + size])["__metadata__"]["num_classes"]) == 3
