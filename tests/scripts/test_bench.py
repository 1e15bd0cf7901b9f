"""What a benchmark can tell beside times: that the fast trainer learns as the default one does; and its kinds."""

import json
from types import SimpleNamespace

import pytest
import torch

from configs.errors import ConfigError
from scripts.bench import breakdown, curves, measure


def test_distance_is_the_largest_relative_difference_of_the_smoothed_curves():
    flat = [2.0] * curves.STEPS
    raised = [3.0 if step >= curves.STEPS - curves.WINDOW else 2.0 for step in range(curves.STEPS)]
    assert curves.distance(flat, flat) == 0
    assert curves.distance(raised, flat) == 0.5


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::convolution_backward", "convolutions"),
        ("sm90_xmma_fprop_implicit_gemm_bf16", "convolutions"),
        ("## Call CompiledFxGraph fqmgjqu2fu6t", "the compiler's kernels"),
        ("triton_poi_fused_convolution_3", "the compiler's kernels"),
        ("aten::addmm", "matrix products"),
        ("nvjet_hsh_128x256_64x4_2x1_v_bz_coopA_NTT", "matrix products"),
        ("Optimizer.step#SGD.step", "the rest"),
    ],
)
def test_an_operators_time_is_of_its_kind(operator, kind):
    assert breakdown._kind(operator) == kind


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_the_fast_trainer_learns_real_images_as_the_default_one_does():
    try:
        fp32, fast, noise = (curves.losses(o) for o in (["seed=0"], ["seed=0", "trainer=fast"], ["seed=1"]))
    finally:
        torch.use_deterministic_algorithms(False)
    assert curves.distance(fast, fp32) <= curves.distance(noise, fp32)


@pytest.fixture
def no_gpu(monkeypatch):
    """Whatever this machine has: records of a GPU have names of their own."""
    monkeypatch.setattr(measure, "DEVICE", torch.device("cpu"))


@pytest.mark.usefixtures("no_gpu")
def test_an_item_that_cannot_be_measured_does_not_keep_the_others_from_it(monkeypatch, tmp_path):
    from lsoftmax.errors import UserError
    from scripts.bench import __main__ as bench

    def missing(seconds):
        raise UserError("there is no data")
        yield {}

    monkeypatch.setattr(bench, "ROOT", tmp_path)
    monkeypatch.setattr(bench, "items", lambda: {"a": missing, "b": lambda seconds: iter([{"ms": seconds}])})
    with pytest.raises(ConfigError, match="^not measured: a$"):
        bench.bench(["seconds=2"])
    folder = tmp_path / "outputs" / "results" / "bench"
    assert [file.name for file in folder.iterdir()] == ["b.json"]
    assert json.loads((folder / "b.json").read_text())["rows"] == [{"ms": 2}]


@pytest.mark.usefixtures("no_gpu")
def test_a_table_an_item_and_a_record_for_each_number_of_threads(monkeypatch, tmp_path, capsys):
    from scripts.bench import __main__ as bench

    rows = [{"classes x features": "10 x 256", "ratio": 2.5}, {"classes x features": "1,000,000 x 512", "ratio": 1.0}]
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    monkeypatch.setattr(bench, "items", lambda: {"head": lambda seconds: iter([*rows, {"other": 1}])})
    threads = torch.get_num_threads()
    try:
        bench.bench(["threads=1"])
        said = capsys.readouterr().out.splitlines()
        bench.bench(["threads=2"])
    finally:
        torch.set_num_threads(threads)
    folder = tmp_path / "outputs" / "results" / "bench"
    assert sorted(file.name for file in folder.iterdir()) == ["head.json", "head_2_threads.json"]
    assert said[2:] == [
        "  classes x features        ratio",
        "  10 x 256                  2.5",
        "  1,000,000 x 512           1.0",
        "  other",
        "  1",
    ]


def test_on_a_gpu_many_steps_are_waited_for_together(monkeypatch):
    calls, waits = [], []
    monkeypatch.setattr(measure, "DEVICE", torch.device("cuda"))
    monkeypatch.setattr(measure, "synchronize", lambda: waits.append(len(calls)))
    clock = iter(range(1000))
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock))
    median = measure.interleaved({"step": lambda: calls.append(1)}, seconds=1, least=3, queued=50)
    assert waits[:2] == [50, 100] and len(calls) == 50 * len(waits)
    assert median == {"step": 1 / 50}


@pytest.mark.usefixtures("no_gpu")
def test_on_a_cpu_each_call_is_timed():
    calls = []
    measure.interleaved({"step": lambda: calls.append(1)}, seconds=1e-9, least=3, queued=50)
    assert len(calls) == 5


@pytest.mark.usefixtures("no_gpu")
def test_the_first_two_turns_are_not_counted(monkeypatch):
    clock = [0.0]
    takes = iter([100.0, 100.0, 1.0, 1.0, 9.0])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock[0])
    work = lambda: clock.__setitem__(0, clock[0] + next(takes))  # noqa: E731
    assert measure.interleaved({"step": work}, seconds=1e-9, least=3) == {"step": 1.0}


def test_the_peak_is_the_most_that_is_held_at_a_time():
    def work():
        for _ in range(3):
            torch.empty(1_000_000, dtype=torch.uint8)

    assert measure.peak_bytes(work, lambda: None, torch.device("cpu")) == 1_000_000


def test_a_run_is_set_against_its_bare_step_and_its_evaluations(monkeypatch):
    from scripts.bench import runs

    batch = torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64)
    plan = SimpleNamespace(batch_size=4, steps=9)
    trainer = SimpleNamespace(loader=SimpleNamespace(batch=lambda step: batch), plan=plan)
    monkeypatch.setattr(runs, "trainer_of", lambda overrides: trainer)
    seconds = {"bare": 1.0, "train.py": 2.0, "test": 3.0}
    monkeypatch.setattr(runs, "interleaved", lambda works, *_, **__: {name: seconds[name] for name in works})
    row = runs._beside_the_bare_step("net", [], 10, 1.0)
    assert (row["bare images/s"], row["train.py images/s"], row["ratio"]) == (40, 20, 0.5)
    assert (row["evaluation s"], row["evaluation, in steps"]) == (3.0, 15.0)
    assert row["ratio with the evaluations of a whole run"] == round(1800 / (3600 + 20 * 3), 3)
