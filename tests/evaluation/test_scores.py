"""Classes and accuracies of scores."""

import numpy as np
import pytest

from sogclr_tf.evaluation.scores import classify, top_k


def test_top_k_in_the_head():
    scores = np.array([[3.0, 2, 1], [3, 2, 1], [3, 2, 1], [1, 1, 1]])
    labels = np.array([0, 1, 2, 1])  # first, second, third; second of equals
    assert [top_k(scores, labels, k) for k in (1, 2, 3)] == [0.25, 0.75, 1]
    assert top_k(scores, np.full(4, 7), 3) == 0
    untrained = np.array([[0.0, -np.inf]])
    assert top_k(untrained, [1], 2) == 0
    assert top_k(untrained, [0], 1) == 1


@pytest.mark.parametrize(
    ("scores", "k", "message"),
    [
        (np.ones(3), 1, r"must be \[M, K\] without NaN, got shape \(3,\)"),
        (np.full((3, 2), np.nan), 1, "with 6 NaN"),
        (np.ones((2, 2)), 1, "scores holds 2 examples but labels 3"),
        (np.ones((3, 2)), 0, "k must be at least 1, got 0"),
    ],
)
def test_top_k_refuses(scores, k, message):
    with pytest.raises(ValueError, match=message):
        top_k(scores, [0, 1, 1], k)


def test_classify_gives_top5_of_more_than_five_classes():
    scores = np.random.default_rng(0).normal(size=(50, 6))
    classified = classify(scores, np.zeros(50, int))
    assert classified.top5 == top_k(scores, np.zeros(50, int), 5)
    assert classified.predictions.dtype == np.int32
    assert classified.top1 == np.mean(classified.predictions == 0)
    assert classify(scores[:, :5], np.zeros(50, int)).top5 is None
