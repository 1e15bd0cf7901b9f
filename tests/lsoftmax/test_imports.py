"""`import lsoftmax` needs torch alone, and takes nothing else with it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ["torchvision", "matplotlib", "pandas", "sklearn", "scipy", "mlxtend", "hydra", "omegaconf", "tensorboard"]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)


def imported(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter imports for the statement."""
    result = python("-X", "importtime", "-c", statement)
    assert result.returncode == 0, result.stderr[-2000:]
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}


@pytest.fixture(scope="module")
def of_torch() -> set[str]:
    return imported("import torch")


@pytest.fixture(scope="module")
def of_the_library() -> set[str]:
    return imported("import lsoftmax, lsoftmax.losses, lsoftmax.metrics")


@pytest.mark.parametrize("package", HEAVY)
def test_the_library_does_not_import(package, of_the_library):
    assert package not in of_the_library


def test_the_library_imports_no_third_party_package_beyond_torchs_own(of_torch, of_the_library):
    # tqdm among them: torch.hub imports it where it is installed.
    added = {name for name in of_the_library - of_torch if name not in sys.stdlib_module_names}
    assert added == {"lsoftmax"}


def test_the_library_imports_without_anything_that_torch_can_do_without():
    block = "import sys; sys.modules.update(dict.fromkeys(('tqdm', 'numpy', 'torchvision', 'scipy')))\n"
    use = "import torch, lsoftmax; lsoftmax.LSoftmaxLinear(3, 2)(torch.ones(1, 3), torch.tensor([1])).sum().backward()"
    result = python("-W", "ignore", "-c", block + use)
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.parametrize("name", ["losses.create", "metrics.error_rate"])
def test_the_submodules_of_the_contract_come_with_the_package(name):
    result = python("-c", f"import lsoftmax; lsoftmax.{name}")
    assert result.returncode == 0, result.stderr[-2000:]


def test_importing_prints_nothing_and_warns_of_nothing():
    result = python("-W", "error", "-c", "import torch, lsoftmax, lsoftmax.losses, lsoftmax.metrics")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_every_exported_name_exists():
    result = python("-c", "from lsoftmax import *; psi, psi_of_cosine, LSoftmaxLinear, LambdaSchedule, PiecewiseLR")
    assert result.returncode == 0, result.stderr[-2000:]
