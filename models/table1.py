"""Table 1 of the paper, one line per column, and the two networks of the authors' released Caffe examples.

A cell (k, n, r) reads "[k x k, n] x r": r cascaded convolutions with n filters of k x k pixels. Every convolution is
padded by k // 2, and has stride 1 except in Conv0.x of `face`: it keeps the size of its map. Pool1 to Pool3 are 2x2 max
pools of stride 2, and nothing pools after Conv4.x.

What the table leaves open stands in the last two entries. `after_fc` is what follows the fully connected layer: batch
normalisation and the activation in the networks that classify, as in the released examples; nothing where the features
are looked at (Fig. 2) or compared by their cosine (faces).
"""

from dataclasses import dataclass

Group = tuple[int, int, int]  # kernel, filters, convolutions

GROUPS = ("conv0", "conv1", "conv2", "conv3", "conv4")
POOLS = {"conv1": "pool1", "conv2": "pool2", "conv3": "pool3"}  # the group that each pool follows


@dataclass(frozen=True)
class Column:
    """One column of Table 1, from the image down to the features."""

    conv0: Group | None
    stride: int  # of Conv0.x
    conv1: Group
    conv2: Group
    conv3: Group
    conv4: Group | None
    fc: int
    after_fc: str
    activation: str

    @property
    def groups(self) -> dict[str, Group]:
        """The groups that this column has, in order."""
        return {name: group for name in GROUPS if (group := getattr(self, name)) is not None}


# fmt: off
TABLE1 = {
    #                       Conv0.x stride Conv1.x      Conv2.x      Conv3.x      Conv4.x      FC  after FC   activation
    #                                      Pool1        Pool2        Pool3
    "mnist_2d":      Column(None,       1, (5, 32, 2), (5, 64, 2),  (5, 128, 2), None,          2, "none",     "prelu"),
    "mnist":         Column((3, 64, 1), 1, (3, 64, 3), (3, 64, 3),  (3, 64, 3),  None,        256, "bn_prelu", "prelu"),
    "cifar10":       Column((3, 64, 1), 1, (3, 64, 4), (3, 96, 4),  (3, 128, 4), None,        256, "bn_prelu", "prelu"),
    "cifar100":      Column((3, 96, 1), 1, (3, 96, 4), (3, 192, 4), (3, 384, 4), None,        512, "bn_prelu", "prelu"),
    # The LFW column, the least certain one: it alone breaks the rule that filters double where maps are halved, so
    # 64, 64, 128, 256, 512 may be what was meant. `filters` overrides it.
    "face":          Column((3, 64, 1), 2, (3, 64, 4), (3, 256, 4), (3, 256, 4), (3, 256, 4), 512, "none",     "prelu"),
    # Not in the table: myexamples/mnist and myexamples/cifar10 of github.com/wy1iu/LargeMargin_Softmax_Loss.
    "caffe_mnist":   Column((3, 64, 1), 1, (3, 64, 3), (3, 128, 3), (3, 256, 3), None,        512, "bn_prelu", "relu"),
    "caffe_cifar10": Column((3, 64, 1), 1, (3, 64, 4), (3, 128, 4), (3, 256, 4), None,        512, "bn_prelu", "relu"),
}
# fmt: on
