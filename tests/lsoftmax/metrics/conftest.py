"""Scored pairs for the tests of verification."""

import warnings

import numpy as np

from lsoftmax.metrics import FoldWarning, verify_pairs


def random_case(seed, pairs=None):
    """Scores on a grid of eighths (many ties, sums exact) or continuous; labels mixed within every fold."""
    rng = np.random.default_rng(seed)
    pairs = pairs or int(rng.integers(8, 60))
    same = rng.random(pairs) < 0.5
    same[:4] = same[-4:] = [True, False, True, False]
    scores = rng.normal(size=pairs) + rng.choice([0, 0.5, 2, 8]) * same
    if seed % 3:
        scores = np.round(scores * rng.choice([1, 2, 8])) / 8
    return scores, same


def quietly(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FoldWarning)
        return verify_pairs(*arguments, **options)
