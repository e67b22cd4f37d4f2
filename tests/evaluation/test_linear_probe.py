"""The linear probe: that of scikit-learn."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from support.probes import agreement, predicted_by_probe

from sogclr_tf.evaluation.linear_probe import fit_linear_probe


def test_scores_of_the_probe_are_those_of_scikit_learn(digits):
    train, labels, test, _ = digits
    for wanted in ((3, 5), (3, 5, 8)):  # of two classes it gives the difference alone
        rows = np.isin(labels, wanted)
        probe = fit_linear_probe(train[rows], labels[rows], regularization=0.1)
        scores = probe.scores(test)
        scaler = StandardScaler().fit(train[rows])
        reference = LogisticRegression(C=0.1).fit(scaler.transform(train[rows]), labels[rows])
        probabilities = tf.nn.softmax(scores).numpy()
        expected = reference.predict_proba(scaler.transform(test))
        assert (scores.dtype, scores.shape) == (np.float32, (len(test), max(wanted) + 1))
        np.testing.assert_allclose(probabilities[:, wanted], expected, atol=1e-3)
        assert np.isneginf(np.delete(scores, wanted, axis=1)).all()


def test_linear_probe_agrees_with_plain_logistic_regression(digits):
    train, labels, test, test_labels = digits
    scaler = StandardScaler().fit(train)
    reference = LogisticRegression(C=0.1, max_iter=1000).fit(scaler.transform(train), labels)
    predicted = predicted_by_probe(train, labels, test, regularization=0.1)
    assert predicted.dtype == np.int32
    expected = reference.predict(scaler.transform(test))
    assert abs(agreement(predicted, test_labels) - agreement(expected, test_labels)) <= 0.005
    assert agreement(predicted, expected) >= 0.995


def test_linear_probe_chooses_the_strength(digits):
    train, labels, test, _ = digits
    # At 1e-7 the weights stay near 0 and all examples fall into the largest class.
    poor = predicted_by_probe(train, labels, test, regularization=1e-7)
    good = predicted_by_probe(train, labels, test, regularization=0.1)
    chosen = predicted_by_probe(train, labels, test, regularization=(1e-7, 0.1))
    assert agreement(poor, good) < 0.9
    np.testing.assert_array_equal(chosen, good)


def test_linear_probe_repeats_by_seed_and_warns_of_nothing(digits, recwarn):
    train, labels, test, _ = digits
    first = predicted_by_probe(train, labels, test, seed=3, max_iterations=5)
    second = predicted_by_probe(train, labels, test, seed=3, max_iterations=5)
    np.testing.assert_array_equal(first, second)
    assert not recwarn.list


def test_linear_probe_keeps_every_class_in_the_fit():
    features = np.eye(3)[[0, 1, 2, 2, 2, 2]]
    labels = np.array([0, 1, 2, 2, 2, 2])
    for seed in range(5):
        predicted = predicted_by_probe(features, labels, np.eye(3), seed=seed)
        assert predicted.shape == (3,)


def test_linear_probe_refuses():
    features = np.ones((4, 3))
    with pytest.raises(ValueError, match="regularization must be numbers above 0, got -1"):
        predicted_by_probe(features, [0, 1, 0, 1], features, regularization=-1)
    with pytest.raises(ValueError, match="at least 2 different classes, got 1"):
        predicted_by_probe(features, [1, 1, 1, 1], features)
    with pytest.raises(ValueError, match="No class has two of the 4 training examples"):
        predicted_by_probe(features, [0, 1, 2, 3], features)
