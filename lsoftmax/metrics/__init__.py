"""Numbers from arrays: what evaluators report."""

from lsoftmax.metrics.classification import confusion_matrix, error_rate, per_class_error

__all__ = ["confusion_matrix", "error_rate", "per_class_error"]
