"""A device that is not here is an error; what makes numbers repeatable is set."""

import importlib
import os
import platform
import subprocess
import sys

import pytest
import torch

from lsoftmax.engine import device as device_module
from lsoftmax.engine.device import choose_device, describe, memory_errors, set_determinism
from lsoftmax.errors import UserError

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without cuda")


def test_cpu_is_the_cpu():
    assert choose_device("cpu") == torch.device("cpu")


def test_auto_is_cuda_where_there_is_one():
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_auto_takes_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    assert choose_device("auto").type == "cuda"


@without_cuda
def test_a_gpu_that_cannot_be_used_is_an_error_of_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UserError, match=r"^device=auto cannot be used here [^\n]*choose device=cpu$"):
        choose_device("auto")


@without_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_cuda_without_one_is_an_error_of_one_line(name):
    with pytest.raises(UserError, match=rf"^device={name} cannot be used here [^\n]*device=auto$"):
        choose_device(name)


@pytest.mark.parametrize(
    "name", ["", "gpu", "cpu:x", "cuda:99", "cuda:-1", "meta", "xla", "hpu", "vulkan", "privateuseone"]
)
def test_a_device_that_cannot_train_is_an_error(name):
    with pytest.raises(UserError):
        choose_device(name)


@pytest.mark.parametrize("deterministic", [True, False])
def test_the_deterministic_flag_is_set(deterministic):
    set_determinism(deterministic)
    assert torch.are_deterministic_algorithms_enabled() is deterministic


@pytest.mark.parametrize("deterministic", [True, False])
def test_cudnn_may_choose_by_time_only_without_determinism(deterministic):
    set_determinism(deterministic)
    assert torch.backends.cudnn.benchmark is not deterministic


def test_float32_is_not_tf32():
    set_determinism(False)
    assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32


def test_cublas_is_prepared_for_determinism_before_any_matmul(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # set back afterwards
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    importlib.reload(device_module)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_the_choice_of_the_user_for_cublas_stands(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    importlib.reload(device_module)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


NO_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("Storage size calculation overflowed with sizes=[4611686018427387904, 2]"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: str(error)[:30])
def test_too_little_memory_is_an_error_that_says_what_to_lower(error):
    with pytest.raises(UserError) as raised, memory_errors():
        raise error
    assert "\n" not in str(raised.value)
    for key in ("schedule.batch_size", "model.width", "trainer.eval_batch_size"):
        assert key in str(raised.value)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ValueError("a bug")])
def test_another_error_is_not_taken_for_too_little_memory(error):
    with pytest.raises(type(error), match="^a bug$"), memory_errors():
        raise error


def test_a_cpu_has_a_name():
    assert describe(torch.device("cpu"))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a matter of glibc")
def test_freed_memory_is_not_asked_for_again():
    """In a process of its own: what others have left in the heap decides where the next 64 MiB lie."""
    code = """
import resource, torch
from lsoftmax.engine.device import keep_freed_memory
def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)  # 64 MiB, 16,384 pages: more than glibc would keep by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
keep_freed_memory()
[page_faults() for _ in range(3)]
print(min(page_faults() for _ in range(5)))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(said.stdout) < 1000
