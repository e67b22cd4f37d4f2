import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf.data import labeled
from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.data.sources.arrays import digits
from sogclr_tf.evaluation import linear_evaluation
from sogclr_tf.evaluation.features import extract_features
from sogclr_tf.evaluation.linear_probe import fit_linear_probe
from sogclr_tf.models.linear_probe import LinearProbe

RANDOM = np.random.default_rng(0)


def probe_of(classes=3, width=5):
    return LinearProbe(
        *(
            RANDOM.normal(size=size).astype(np.float32)
            for size in (width, (width, classes), classes)
        )
    )


def test_scores_are_a_linear_function():
    made, features = probe_of(), RANDOM.normal(size=(4, 5))
    for row, scores in zip(features, made.scores(features), strict=True):
        expected = [(row - made.mean) @ made.kernel[:, k] + made.bias[k] for k in range(3)]
        assert_close(scores, expected)


def test_of_standardized():
    mean, deviation = RANDOM.normal(size=5), RANDOM.uniform(0.5, 2, 5)
    kernel, bias, features = (RANDOM.normal(size=size) for size in ((5, 3), 3, (4, 5)))
    made = LinearProbe.from_standardized(mean, deviation, kernel, bias)
    expected = (features - mean) / deviation @ kernel + bias
    assert_close(made.scores(features), expected)


def test_features_that_hardly_differ():
    features = (1000 + RANDOM.normal(size=(50, 5)) / 100).astype(np.float32)
    mean, deviation = features.mean(0, np.float64), features.std(0, dtype=np.float64)
    kernel, bias = RANDOM.normal(size=(5, 3)), np.zeros(3)
    made = LinearProbe.from_standardized(mean, deviation, kernel, bias)
    expected = (features - mean) / deviation @ kernel
    # The mean itself is kept in float32, which is 1e-4 of 1000, or 1e-2 of the deviation.
    np.testing.assert_allclose(made.scores(features), expected, atol=0.05)


def test_the_layer_computes_the_scores():
    made, features = probe_of(), RANDOM.normal(size=(4, 5)).astype(np.float32)
    layer = made.layer()
    assert_close(layer(features), made.scores(features))
    assert len(layer.trainable_variables) == 2


@pytest.mark.parametrize("names", [["a", "ö", "c"], None])
def test_the_file_keeps_all(tmp_path, names):
    made = probe_of()
    (tmp_path / "head.npz").write_bytes(made.to_bytes(names, "step-7"))
    read, class_names, encoder = LinearProbe.from_file(tmp_path / "head.npz")
    assert (class_names, encoder) == (names, "step-7")
    for field, again in zip(made, read, strict=True):
        np.testing.assert_array_equal(field, again)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_regression_is_kept(classes):
    labels = np.arange(60) % classes
    features = (RANDOM.normal(size=(60, 5)) + 2 * np.eye(5)[labels]).astype(np.float32)
    made = fit_linear_probe(features, labels)
    predicted = made.scores(features).argmax(1)
    assert np.mean(predicted == labels) > 0.8


def test_a_class_that_training_lacked_has_no_probability():
    labels = np.array([0, 3, 0, 3, 0, 3] * 4)
    features = RANDOM.normal(size=(24, 5)).astype(np.float32) + labels[:, None]
    made = fit_linear_probe(features, labels)
    probabilities = tf.nn.softmax(made.layer()(features)).numpy()
    assert np.all(probabilities[:, 1:3] == 0)
    assert_close(probabilities.sum(1), 1, terms=4)


@pytest.mark.slow(reason="a probe is trained to the end")
def test_that_of_the_papers_linear_evaluation():
    source = digits("test")
    encoder = sogclr_tf.small_resnet(widths=(4, 6), input_shape=(8, 8, 3))
    found = linear_evaluation.linear_evaluation(
        encoder, source, source, labeled.crops_and_flips(8), epochs=1, verbose=0
    )
    images, _ = evaluation_set(source, 8)
    scores = found.probe.scores(extract_features(encoder, images))
    np.testing.assert_array_equal(scores.argmax(1), found.predictions)


def test_that_of_the_online_probe():
    probe = sogclr_tf.OnlineProbe(3)
    features = RANDOM.normal(2, 3, size=(64, 5)).astype(np.float32)
    labels = tf.constant(np.arange(64) % 3)
    probe.build((None, 5))
    for _ in range(20):
        probe.learn(tf.constant(features), labels)
    assert_close(probe.linear_probe().scores(features), probe(features), terms=10000)
