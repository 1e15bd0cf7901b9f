"""scripts/_execution.py: what a GPU adds to a command that says nothing of it."""

import pytest

from lsoftmax.engine import device as device_module
from scripts import _execution, _runs

GIB = 1 << 30


@pytest.fixture
def compilers(monkeypatch):
    """compilers("gcc") -> these are installed, no others."""
    monkeypatch.delenv("CC", raising=False)

    def install(*names):
        monkeypatch.setattr(_execution.shutil, "which", lambda name: name if name in names else None)

    install("cc")
    monkeypatch.setattr(_execution, "_python_headers", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: True)
    return install


def test_a_gpu_trains_fast(compilers):
    assert _execution.options(["device=cuda"], "cuda") == ["trainer=fast"]


def test_a_card_without_bfloat16_of_its_own_trains_as_it_is(compilers, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: including_emulation)
    assert _execution.options([], "cuda") == []


def test_without_a_compiler_it_does_not_compile(compilers):
    compilers()
    assert _execution.options([], "cuda") == ["trainer=fast", "trainer.compile=false"]


def test_nor_without_the_headers_that_a_gpu_s_compiler_includes(compilers, monkeypatch):
    monkeypatch.setattr(_execution, "_python_headers", lambda: False)
    assert _execution.options([], "cuda") == ["trainer=fast", "trainer.compile=false"]


def test_the_compiler_may_be_another(compilers, monkeypatch):
    compilers("icx")
    monkeypatch.setenv("CC", "icx")
    assert _execution.options([], "cuda") == ["trainer=fast"]


@pytest.mark.parametrize(("extra", "kind"), [(["trainer=default"], "cuda"), (["trainer=fast"], "cuda"), ([], "cpu")])
def test_nothing_is_added_to_a_named_trainer_or_on_a_cpu(compilers, extra, kind):
    assert _execution.options(extra, kind) == []


@pytest.mark.parametrize(
    ("kind", "free", "cores", "at_once"),
    [
        ("cuda", 79 * GIB, 16, 3),
        ("cuda", 79 * GIB, 8, 2),
        ("cuda", 30 * GIB, 16, 2),
        ("cuda", 7 * GIB, 16, 1),
        ("cuda", 79 * GIB, 2, 1),
        ("cpu", 79 * GIB, 16, 1),
    ],
)
def test_so_many_runs_at_once_as_the_machine_carries(monkeypatch, kind, free, cores, at_once):
    monkeypatch.setattr(_execution, "cores", lambda: cores)
    assert _execution.parallel(kind, free) == at_once


@pytest.mark.parametrize(("free", "at_once"), [(39 * GIB, 1), (79 * GIB, 2), (139 * GIB, 3)])
def test_each_run_of_webface_puts_the_faces_on_the_card(monkeypatch, free, at_once):
    monkeypatch.setattr(_execution, "cores", lambda: 16)
    assert _execution.parallel("cuda", free, faces=True) == at_once


@pytest.fixture
def on_a_gpu(monkeypatch, compilers):
    monkeypatch.setattr(device_module, "choose_device", lambda name: device_module.torch.device("cuda"))
    monkeypatch.setattr(device_module, "describe", lambda device: "Abacus")
    monkeypatch.setattr(device_module, "free_bytes", lambda device: 79 * GIB)
    monkeypatch.setattr(_execution, "cores", lambda: 16)


def test_a_table_on_a_gpu_says_and_does_it(on_a_gpu, script, trained):
    said = script("reproduce", "table=2", "seeds=1", "trainer.log_every=7")
    assert "on Abacus: trainer=fast, parallel=3 unless given" in said.out
    assert trained and all(o.index("trainer=fast") < o.index("trainer.log_every=7") for o in trained)


@pytest.mark.parametrize(("asked", "at_once"), [([], 3), (["parallel=2"], 2)])
def test_so_many_run_at_once_unless_it_is_said(on_a_gpu, script, trained, monkeypatch, asked, at_once):
    seen = []
    monkeypatch.setattr(_runs, "run_all", lambda commands, budget, parallel, failed: seen.append(parallel) or ())
    script("reproduce", "table=2", "seeds=1", *asked)
    assert set(seen) == {at_once}


def test_the_device_that_is_asked_for_decides(compilers, script, trained, monkeypatch):
    asked, choose = [], device_module.choose_device
    monkeypatch.setattr(device_module, "choose_device", lambda name: asked.append(name) or choose("cpu"))
    script("reproduce", "table=2", "seeds=1", "device=cpu")
    assert set(asked) == {"cpu"}


def test_what_is_asked_for_stands(on_a_gpu, script, trained):
    script("reproduce", "table=2", "seeds=1", "trainer=default")
    assert trained and all("trainer=default" in o and "trainer=fast" not in o for o in trained)
