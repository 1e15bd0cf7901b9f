"""Numbers from arrays: what evaluators report."""

from lsoftmax.metrics.classification import confusion_matrix, error_rate, per_class_error
from lsoftmax.metrics.paired import PairedDifference, paired_difference

__all__ = ["PairedDifference", "confusion_matrix", "error_rate", "paired_difference", "per_class_error"]
