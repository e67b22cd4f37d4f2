"""Means that a reader can check in the head."""

import numpy as np
import pytest
import tensorflow as tf
from support.numerics import close

from sogclr_tf.models import metrics


def test_log_mean_exp():
    mean = metrics.LogMeanExp("uniformity")
    for value in (1.0, 3.0):
        mean.update_state(tf.math.log(value))
    assert float(mean.result()) == close(np.log(2.0), terms=4)


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ([[1.0, 0], [2, 0], [5, 0]], 0.0),
        ([[1.0, 0], [-1, 0]], 1.0),
        ([[1.0, 0], [0, 3]], 0.5**0.5),
        ([[3.0, 4]] * 3 + [[-3, -4]], 0.75**0.5),
    ],
)
def test_feature_std(features, expected):
    std = metrics.FeatureStd(2)
    for rows in np.array_split(np.float32(features), 2):
        std.update_state(rows)
    assert float(std.result()) == pytest.approx(expected, abs=1e-3)


def test_feature_std_is_the_deviation_over_dimensions():
    features = np.random.default_rng(0).normal(0.5, 1, (200, 7)).astype(np.float32)
    std = metrics.FeatureStd(7)
    std.update_state(features)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert float(std.result()) == close(np.sqrt(np.sum(unit.std(axis=0) ** 2)))


def test_nothing_seen_yet():
    assert float(metrics.FeatureStd(3).result()) == 1.0
