"""Wrong arguments raise before any layer is made, in one line: the argument, its value, what is accepted."""

import re

import pytest

import models


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "vgg"}, "name='vgg': must be one of mnist_2d, mnist, cifar10, cifar100, face, caffe_mnist, caffe"),
        ({"activation": "gelu"}, "activation='gelu': must be one of prelu, relu"),
        ({"pooling": "mean"}, "pooling='mean': must be one of ceil, floor"),
        ({"after_fc": "relu"}, "after_fc='relu': must be one of bn_prelu, bn, none"),
        ({"width": 0}, "width=0: must be a number > 0"),
        ({"width": float("nan")}, "width=nan: must be a number > 0"),
        ({"width": float("inf")}, "width=inf: must be a number > 0"),
        ({"filters": [32, 64]}, "filters=(32, 64): must be (conv0, conv1, conv2, conv3), integers >= 1"),
        ({"filters": [32, 0, 64, 64]}, "filters=(32, 0, 64, 64): must be"),
        ({"filters": [32, 1.5, 64, 64]}, "filters=(32, 1.5, 64, 64): must be"),
        ({"image_shape": (32, 32)}, "image_shape=(32, 32): must be (C, H, W), integers >= 1"),
        ({"image_shape": (3, 0, 32)}, "image_shape=(3, 0, 32): must be (C, H, W), integers >= 1"),
        ({"input_size": (32,)}, "input_size=(32,): must be (H, W), integers >= 1"),
        ({"image_shape": (3, 32, 4)}, "image_shape=(3, 32, 4): too small for the pools of cifar10"),
        ({"input_size": (4, 32)}, "input_size=(4, 32): too small for the pools of cifar10"),
    ],
)
def test_a_wrong_argument_is_named_with_its_value_and_what_is_accepted(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}[^\n]*$"):
        models.build(**{"name": "cifar10", "image_shape": (3, 32, 32), **options})


@pytest.mark.parametrize(
    ("name", "pooling", "least"),
    [("mnist", "ceil", 5), ("mnist", "floor", 8), ("face", "ceil", 9), ("face", "floor", 15)],
)
def test_the_smallest_size_that_the_error_names_is_the_smallest_that_builds(name, pooling, least):
    models.build(name, (1, least, least), pooling=pooling, width=0.02)
    with pytest.raises(ValueError, match=f"at least {least} x {least} pixels"):
        models.build(name, (1, least - 1, least), pooling=pooling, width=0.02)
