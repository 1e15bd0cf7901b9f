"""Steps replayed from a CUDA graph do what steps launched one by one do: to the same bits.

Where there is no GPU an emulated graph stands for one: it repeats the recorded operations with the very tensors that
they were recorded with, and refuses what no graph can hold. What only a GPU can tell, streams and memory, is not in it.
"""

import gc
import weakref
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lsoftmax import AdaptiveLambda
from lsoftmax.engine.device import memory_errors, set_determinism
from lsoftmax.engine.graph import WARM_UP
from lsoftmax.errors import UserError
from lsoftmax.losses.lsoftmax import LSoftmax

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
READS_BACK = torch.ops.aten._local_scalar_dense.default
STEPS = 24
LAMBDAS = {
    "a function of the step": lambda: lambda step: max(0.5, 10.0 - step),
    "adaptive": lambda: AdaptiveLambda(accuracy=0.6, initial=10.0, rate=0.3),
    "guarded": lambda: AdaptiveLambda(accuracy=0.6, initial=10.0, rate=0.3, guard=0.95),
}


class EmulatedGraph(TorchDispatchMode):
    """Records on any device. Recording does the operations once, which is the first replay's part."""

    recordings = 0

    def __init__(self):
        super().__init__()
        self.calls, self.done, self.replays = [], True, 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator is READS_BACK:
            raise RuntimeError("operation not permitted when stream is capturing\nmore lines")
        result = operator(*args, **(kwargs or {}))
        self.calls.append((operator, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self):
        self.replays += 1
        if self.done:
            self.done = False
            return
        for operator, args, kwargs, before in self.calls:
            results = tree_leaves(operator(*args, **kwargs))
            for place, value in zip(tree_leaves(before), results, strict=True):
                if isinstance(place, torch.Tensor):
                    place.copy_(value)


class NoStream:
    def __init__(self, device=None):
        pass

    def wait_stream(self, other):
        pass


@contextmanager
def recording(graph, pool, stream, capture_error_mode):
    assert not gc.isenabled()
    EmulatedGraph.recordings += 1
    with graph:
        yield


@pytest.fixture(params=["emulated", pytest.param("cuda", marks=needs_gpu)])
def device(request, monkeypatch):
    """The device of the runs, which can record."""
    monkeypatch.setattr(EmulatedGraph, "recordings", 0)
    if request.param == "cuda":
        return "cuda"
    monkeypatch.setattr("lsoftmax.engine.trainer.can_record", lambda _: True)
    monkeypatch.setattr("lsoftmax.checks._can_be_read", lambda _: False)  # as on an accelerator
    for name, stand_in in {
        "Stream": NoStream, "current_stream": NoStream, "stream": lambda _: nullcontext(),
        "CUDAGraph": EmulatedGraph, "graph": recording, "device": lambda _: nullcontext(),
        "graph_pool_handle": lambda: object(), "set_stream": lambda _: None,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return "cpu"


@pytest.fixture(params=LAMBDAS)
def lam(request):
    return LAMBDAS[request.param]


def network():
    """Without dropout: on a GPU a graph draws its random numbers elsewhere."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.PReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 5)
    )


def run(tools, folder, lam, device, *, graph=True, **changes):
    set_determinism(True)
    options = {"device": device, "steps": STEPS, "cuda_graph": graph, "backbone": network(), **changes}
    return tools.trainer(folder, lam=lam(), **options)


def both(tools, folder, lam, device, **changes):
    """The outcomes without and with a graph."""
    plain = tools.go(run(tools, folder / "plain", lam, device, graph=False, **changes))
    graphed = tools.go(run(tools, folder / "graphed", lam, device, **changes))
    assert plain.graph is None and graphed.graph is not None
    return tools.outcome(plain), tools.outcome(graphed)


@pytest.mark.parametrize("loss", ["lsoftmax", "softmax", "hinge", "cosface"])
def test_a_graph_gives_the_same_bits(tools, tmp_path, lam, device, loss):
    """Over a drop of the learning rate, logged and evaluated steps."""
    tools.check_same(*both(tools, tmp_path, lam, device, loss=loss))


def test_in_bfloat16_too(tools, tmp_path, lam, device):
    tools.check_same(*both(tools, tmp_path, lam, device, precision="bf16", channels_last=True))


def test_margins_on_winners_too(tools, tmp_path, lam, device):
    def winners(features, classes):
        return LSoftmax(features, classes, margin_on="winners", gradient="norms_live")

    tools.check_same(*both(tools, tmp_path, lam, device, loss=winners))


def test_two_graphs_for_each_learning_rate(tools, tmp_path, lam, device):
    """One with the instruments and one without; the first steps come before there is one."""
    trainer, graphs = run(tools, tmp_path, lam, device), []
    for _ in range(STEPS):
        trainer._step()
        graphs.append(len(trainer.graph._graphs))
    assert graphs[:WARM_UP] == [0] * WARM_UP and graphs[WARM_UP:10] == [1, 1, 1, 2, 2, 1, 1]  # step 6 is the first
    assert set(graphs[10:]) == {2}  # that is not logged
    if device == "cpu":
        assert EmulatedGraph.recordings == 4  # PLAN's rate falls once
        assert sum(graph.replays for graph, _ in trainer.graph._graphs.values()) == STEPS - 8


def test_a_run_that_has_ended_holds_no_graphs(tools, tmp_path, lam, device):
    trainer = tools.go(run(tools, tmp_path, lam, device))
    assert not trainer.graph._graphs and gc.isenabled()


def test_a_trainer_nobody_holds_is_gone_at_once(tools, tmp_path, lam, device):
    """And its memory with it: nothing waits for Python's collector, which might come in the middle of a recording."""
    trainer = run(tools, tmp_path, lam, device)
    for _ in range(5):
        trainer._step()
    gone = weakref.ref(trainer)
    gc.disable()
    try:
        del trainer
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("moment", [2, 9, 20])
def test_a_killed_run_goes_on_to_the_same_bits(tools, tmp_path, lam, device, moment):
    whole = tools.outcome(tools.go(run(tools, tmp_path / "whole", lam, device)))
    with pytest.raises(tools.Killed):
        tools.go(run(tools, tmp_path / "killed", lam, device), tools.StopAt(moment, tools.Killed()))
    again = run(tools, tmp_path / "killed", lam, device)
    again.resume()
    tools.check_same(tools.outcome(tools.go(again)), whole)


@pytest.mark.parametrize("bad", [1, 4, 9])
def test_a_return_records_anew(tools, tmp_path, lam, device, bad):
    """Not finite once: back to the anchor, whose momentum lies elsewhere (of step 0 there is none), with a higher
    floor."""
    outcomes = []
    for graph in (False, True):
        spoilt = []

        def spoil(step, images, spoilt=spoilt):
            if step == bad and not spoilt:
                spoilt.append(step)
                return images * float("nan")
            return images

        loader = tools.Batches(device, spoil)
        options = {"graph": graph, "on_divergence": "raise_lambda", "loader": loader, "lr": lambda step: 0.05}
        trainer = tools.go(run(tools, tmp_path / str(graph), lam, device, **options))
        assert spoilt and trainer.progress.lambda_floor > 0
        outcomes.append(tools.outcome(trainer))
    tools.check_same(*outcomes)


def test_a_run_that_breaks_is_stopped_at_the_step_that_broke_it(tools, tmp_path, lam, device):
    """The number of the step is read by the graph too."""
    from lsoftmax.engine.divergence import Diverged

    loader = tools.Batches(device, lambda step, images: images * float("nan") if step == 10 else images)
    with pytest.raises(Diverged) as caught:
        tools.go(run(tools, tmp_path, lam, device, loader=loader))
    assert caught.value.divergence["step"] == 10


@needs_gpu
def test_steps_between_logged_ones_never_wait_for_the_gpu(tools, tmp_path, lam, never_waits):
    never = {"log_every": 100, "eval_every": 100, "checkpoint_every": 100, "steps": 100}
    trainer = run(tools, tmp_path, lam, "cuda", **never)
    batches = [trainer.loader.batch(step) for step in range(20)]
    trainer.loader.batch = batches.__getitem__
    for _ in range(7):
        trainer._step()
    with never_waits():
        for _ in range(7):
            trainer._step()


class Waits(LSoftmax):
    def forward(self, features, labels):
        return super().forward(features, labels) * float(self.lam.isfinite())


@pytest.mark.parametrize("device", ["emulated"], indirect=True)  # the end of a GPU's recording may spoil the process
def test_a_loss_that_waits_for_the_device_is_an_error_of_one_line(tools, tmp_path, lam, device):
    with pytest.raises(UserError, match=r"not permitted.*trainer\.cuda_graph=false") as caught:
        tools.go(run(tools, tmp_path, lam, device, loss=Waits))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["emulated"], indirect=True)
def test_too_little_memory_for_a_recording_is_told_though_its_end_fails_too(tools, tmp_path, lam, device, monkeypatch):
    @contextmanager
    def recording(*arguments, **options):
        try:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")
        yield

    monkeypatch.setattr(torch.cuda, "graph", recording)
    with pytest.raises(UserError, match="^not enough memory"), memory_errors():
        tools.go(run(tools, tmp_path, lam, device))


def test_without_a_gpu_nothing_is_recorded(tools, tmp_path):
    assert tools.trainer(tmp_path, cuda_graph=True).graph is None
