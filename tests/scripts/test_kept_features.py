"""Features kept beside a record: of the finished run, of its first images."""

import json

import numpy as np
import pytest
import torch

from configs.settings import from_file
from scripts import _features, _records


def test_features_come_from_the_finished_runs_weights(finished, result, elsewhere):
    record = result | {"seed": 0}
    path = _features.keep(finished, record, {"sets": ["train", "test"], "per_class": 3}, "full")
    assert path == _features.path(record, "full") and path.parent == _records.folder("full")
    found = _features.read(record, "full")
    assert found["test_features"].dtype == np.float16 and found["test_labels"].tolist() == sorted([*range(10)] * 3)
    assert found["train_features"].shape == found["test_features"].shape


def test_kept_features_give_the_predictions_of_the_run(finished, result, elsewhere):
    """On all test images: as many wrong as the record says, up to float16."""
    from lsoftmax.engine.weights import read_weights

    _features.keep(finished, result, {"sets": ["test"], "per_class": 1000}, "full")
    found = _features.read(result, "full")
    weight = read_weights(finished / "model.safetensors")[0]["criterion.weight"]
    predictions = (torch.from_numpy(found["test_features"]).float() @ weight.T).argmax(dim=1).numpy()
    assert 100 * (predictions != found["test_labels"]).mean() == pytest.approx(result["test_error"], abs=0.3)


def test_large_features_are_kept_of_fewer_images(finished, result, elsewhere, monkeypatch):
    monkeypatch.setattr(_features, "_MOST_BYTES", 10 * 2 * 2 * feature_size(finished))
    _features.keep(finished, result, {"sets": ["test"], "per_class": 30}, "full")
    assert len(_features.read(result, "full")["test_labels"]) == 20


def test_of_the_largest_features_one_image_of_each_class_is_kept(finished, result, elsewhere, monkeypatch):
    monkeypatch.setattr(_features, "_MOST_BYTES", 1)
    _features.keep(finished, result, {"sets": ["test"], "per_class": 30}, "full")
    assert _features.read(result, "full")["test_labels"].tolist() == list(range(10))


def feature_size(run) -> int:
    from assemble import build_network, load_data

    settings = from_file(run / "config.yaml")
    return build_network(settings, load_data(settings).test, torch.device("cpu"))[0].feature_size


@pytest.mark.parametrize("change", [{"test_error": -1.0}, {"config_sha256": "0"}, {"dataset_sha256": "0"}])
def test_features_of_another_run_are_not_kept(finished, result, elsewhere, change):
    assert _features.keep(finished, result | change, {"sets": ["test"], "per_class": 1}, "full") is None
    assert _features.read(result, "full") is None


def test_no_features_without_weights(result, elsewhere, tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert _features.keep(tmp_path, result, {"sets": ["test"], "per_class": 1}, "full") is None


def test_the_first_images_of_each_class_are_chosen_in_order():
    labels = torch.tensor([1, 0, 1, 1, 0, 2])
    assert _features.first_of_each(labels, 3, 2).tolist() == [1, 4, 0, 2, 5]
