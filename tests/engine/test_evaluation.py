"""A pass over a set: plain scores, evaluation mode, nothing left changed."""

import pytest
import torch
from torch import nn

from lsoftmax import losses
from lsoftmax.engine.evaluation import Evaluation, evaluate
from lsoftmax.metrics import ClassCosines, CosineSums


@pytest.fixture
def network(tools):
    return tools.network()


@pytest.fixture
def criterion(tools):
    return losses.create("lsoftmax", 5, tools.classes, m=4, lam=0.0)


@pytest.fixture
def batches(tools):
    return [tools.images(size, seed=size) for size in (7, 7, 3)]  # the last one is short


def test_it_equals_a_plain_loop(network, criterion, batches):
    result = evaluate(network, criterion, lambda: batches)
    network.eval()
    with torch.no_grad():
        expected = [
            (network(image[None])[0] @ criterion.weight.T).argmax() for images, _ in batches for image in images
        ]
    assert result.predictions.tolist() == [int(label) for label in expected]


def test_labels_come_in_the_order_of_the_set(network, criterion, batches):
    result = evaluate(network, criterion, lambda: batches)
    assert torch.equal(result.labels, torch.cat([labels for _, labels in batches]))


def test_the_margin_plays_no_part(network, criterion, batches):
    full = evaluate(network, criterion, lambda: batches).predictions
    criterion.lam = 1000.0
    assert torch.equal(evaluate(network, criterion, lambda: batches).predictions, full)


def test_cosines_are_those_of_the_features(network, criterion, batches):
    result = evaluate(network, criterion, lambda: batches)
    network.eval()
    with torch.no_grad():
        features = network(torch.cat([images for images, _ in batches]))
    sums = CosineSums(*criterion.weight.shape)
    sums.update(features, result.labels)
    assert result.cosines == pytest.approx(sums.compute(), abs=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_left_as_it_was(network, criterion, batches, training):
    network.train(training)
    evaluate(network, criterion, lambda: batches)
    assert all(module.training is training for module in network.modules())


def test_a_frozen_part_stays_frozen(network, criterion, batches):
    network[1].eval()  # normalisation that shall not move
    evaluate(network, criterion, lambda: batches)
    assert network[0].training and not network[1].training


def test_the_mode_is_left_as_it_was_when_interrupted(network, criterion, batches):
    with pytest.raises(KeyboardInterrupt):
        evaluate(network, criterion, lambda: batches, _interrupt)
    assert network.training


def _interrupt():
    raise KeyboardInterrupt


def test_running_statistics_do_not_move(network, criterion, batches):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    evaluate(network, criterion, lambda: batches)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_no_random_number_is_drawn(network, criterion, batches):
    before = torch.get_rng_state()
    evaluate(network, criterion, lambda: batches)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_gradient_is_kept(network, criterion, batches):
    seen = []
    network.register_forward_hook(lambda module, inputs, output: seen.append(output.requires_grad))
    evaluate(network, criterion, lambda: batches)
    assert seen == [False] * 3


def test_between_is_called_before_each_batch(network, criterion, batches):
    calls = []
    evaluate(network, criterion, lambda: batches, lambda: calls.append(1))
    assert len(calls) == 3


def test_it_is_float32_after_bf16_training(tools, tmp_path):
    trainer, kinds = tools.trainer(tmp_path, precision="bf16", steps=4), set()
    tools.go(trainer)
    trainer.backbone.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
    trainer.evaluate("test", tools.StopAt())
    assert kinds == {torch.float32}


def test_the_error_is_the_percentage_missed():
    assert Evaluation(torch.tensor([0, 1, 2, 0]), torch.tensor([0, 1, 1, 1]), ClassCosines(1.0, 0.0)).error == 50


def test_a_set_is_passed_once(network, criterion, batches):
    passes = []
    evaluate(network, criterion, lambda: passes.append(1) or batches)
    assert passes == [1]


def test_the_error_of_a_known_classifier_is_known(tools):
    images = torch.eye(3)[[0, 1, 2, 0]]
    criterion = losses.create("softmax", 3, 3)
    with torch.no_grad():
        criterion.weight.copy_(torch.eye(3))
    assert evaluate(nn.Identity(), criterion, lambda: [(images, torch.tensor([0, 1, 2, 1]))]).error == 25
