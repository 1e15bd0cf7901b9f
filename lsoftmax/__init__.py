"""Large-Margin Softmax Loss for Convolutional Neural Networks (Liu, Wen, Yu, Yang, ICML 2016) in PyTorch."""

from lsoftmax import losses, metrics
from lsoftmax.controllers import AdaptiveLambda, PlateauLR
from lsoftmax.functional import lsoftmax_cross_entropy, lsoftmax_logits
from lsoftmax.heads import LSoftmaxLinear
from lsoftmax.margin import psi, psi_of_cosine
from lsoftmax.required import required_lambda
from lsoftmax.schedule import LambdaSchedule, PiecewiseLR

__version__ = "0.1.0"

__all__ = [
    "AdaptiveLambda",
    "LSoftmaxLinear",
    "LambdaSchedule",
    "PiecewiseLR",
    "PlateauLR",
    "losses",
    "lsoftmax_cross_entropy",
    "lsoftmax_logits",
    "metrics",
    "psi",
    "psi_of_cosine",
    "required_lambda",
]
