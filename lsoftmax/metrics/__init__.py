"""Numbers from arrays: what evaluators report."""

from lsoftmax.metrics.all_pairs import all_pairs_roc
from lsoftmax.metrics.class_cosines import ClassCosines, CosineSums
from lsoftmax.metrics.classification import confusion_matrix, error_rate, per_class_error
from lsoftmax.metrics.embeddings import verify_embeddings
from lsoftmax.metrics.folds import FoldWarning
from lsoftmax.metrics.identification import Identification, identify
from lsoftmax.metrics.paired import PairedDifference, paired_difference
from lsoftmax.metrics.retrieval import Retrieval, retrieve
from lsoftmax.metrics.verification import Verification, best_threshold, verify_at, verify_pairs

__all__ = [
    "ClassCosines",
    "CosineSums",
    "FoldWarning",
    "Identification",
    "PairedDifference",
    "Retrieval",
    "Verification",
    "all_pairs_roc",
    "best_threshold",
    "confusion_matrix",
    "error_rate",
    "identify",
    "paired_difference",
    "per_class_error",
    "retrieve",
    "verify_at",
    "verify_embeddings",
    "verify_pairs",
]
