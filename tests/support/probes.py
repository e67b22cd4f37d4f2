"""Predictions of probes, and how far they agree."""

import numpy as np

from sogclr_tf.evaluation.linear_probe import fit_linear_probe


def agreement(predicted, expected):
    return np.mean(predicted == expected)


def predicted_by_probe(features, labels, queries, **options):
    """The classes int32 of the queries, by a probe that is fitted to the features."""
    scores = fit_linear_probe(features, labels, **options).scores(queries)
    return scores.argmax(1).astype(np.int32)
