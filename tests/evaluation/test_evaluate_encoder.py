"""Scores of an encoder: those of scikit-learn on its features."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize
from support.numerics import assert_close
from support.probes import agreement, predicted_by_probe

import sogclr_tf
from sogclr_tf.data.sources.open import from_name
from sogclr_tf.evaluation.evaluate_encoder import evaluate_encoder
from sogclr_tf.evaluation.features import extract_features
from sogclr_tf.evaluation.neighbors import knn_predict


def test_evaluate_encoder(encoder, images, digits):
    _, labels, _, test_labels = digits
    scores = evaluate_encoder(encoder, images[:1200], labels, images[1200:], test_labels, k=20)
    features = extract_features(encoder, images)
    assert_close(scores.train_features, features[:1200])
    assert_close(scores.test_features, features[1200:])
    predicted = knn_predict(features[:1200], labels, features[1200:], k=20, num_classes=10)
    assert scores.knn_top1 == {20: pytest.approx(agreement(predicted, test_labels), abs=0.002)}
    assert 0.85 < scores.knn_top1[20] <= 1
    assert 0.85 < scores.linear.top1 < scores.linear.top5 <= 1
    assert scores.linear.top1 == agreement(scores.linear.predictions, test_labels)
    assert "features" not in repr(scores)


def test_evaluate_encoder_runs_the_encoder_once_whatever_is_asked(images):
    seen = []

    def encoder(batch, training):
        assert training is False
        tf.py_function(lambda count: seen.append(int(count)), [tf.shape(batch)[0]], [])
        return tf.reshape(batch, [-1, 8 * 8 * 3])

    scores = evaluate_with(encoder, images, k=(1, 3, 99), linear_probe=False, batch_size=10)
    assert sum(seen) == 20 + 10
    assert list(scores.knn_top1) == [1, 3, 99]
    features = images[:20].reshape(20, -1)
    for k, top1 in scores.knn_top1.items():
        predicted = knn_predict(features, np.arange(20) % 2, features[:10], k=k, num_classes=2)
        assert top1 == agreement(predicted, np.arange(10) % 2)
    assert scores.linear is None


def test_evaluate_encoder_counts_a_class_that_training_lacks_as_wrong(images, digits):
    labels = digits[1][:100]
    unseen = np.full(20, 11)
    flatten = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    scores = evaluate_encoder(flatten, images[:100], labels, images[:20], unseen)
    assert (scores.knn_top1, scores.linear.top1, scores.linear.top5) == ({20: 0, 200: 0}, 0, 0)


@pytest.mark.slow(reason="a network, or data, of full size")
def test_both_agree_with_scikit_learn_on_cifar10(data_dir):
    keras.utils.set_random_seed(0)
    encoder = sogclr_tf.small_resnet(widths=(16, 32), stem_stride=4)
    sets = []
    for split in ("train[:2000]", "test[:1000]"):
        source = from_name("cifar10", split, data_dir)
        images, labels = source.images_and_labels()
        sets += [extract_features(encoder, images), labels]
    train, labels, test, test_labels = sets

    predicted = knn_predict(train, labels, test, k=20, num_classes=10)
    voters = KNeighborsClassifier(20, weights=lambda d: np.exp((1 - d**2 / 2) / 0.07))
    expected = voters.fit(normalize(train), labels).predict(normalize(test))
    assert agreement(predicted, test_labels) > 0.15
    assert abs(agreement(predicted, test_labels) - agreement(expected, test_labels)) <= 0.005

    predicted = predicted_by_probe(train, labels, test, regularization=0.01)
    scaler = StandardScaler().fit(train)
    regression = LogisticRegression(C=0.01).fit(scaler.transform(train), labels)
    expected = regression.predict(scaler.transform(test))
    assert agreement(predicted, test_labels) > 0.25
    assert abs(agreement(predicted, test_labels) - agreement(expected, test_labels)) <= 0.005


def evaluate_with(encoder, images, **changes):
    arguments = {
        "train_images": images[:20],
        "train_labels": np.arange(20) % 2,
        "test_images": images[:10],
        "test_labels": np.arange(10) % 2,
    }
    return evaluate_encoder(encoder, **(arguments | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels": None}, "train_labels is None"),
        ({"test_labels": None}, "test_labels is None"),
        ({"train_labels": np.zeros(20, int)}, "at least 2 different classes, got 1"),
        ({"train_labels": np.arange(19)}, "train_images holds 20 examples but train_labels 19"),
        ({"test_labels": np.arange(11)}, "test_images holds 10 examples but test_labels 11"),
        ({"train_labels": np.arange(20) - 1}, "classes from 0, got -1"),
        ({"train_labels": np.arange(20.0)}, "must be integers"),
        ({"test_labels": np.zeros((10, 2), int)}, r"shape \(10, 2\)"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"k": (20, 0)}, "k must be above 0, got 0"),
        ({"k": (), "linear_probe": False}, "k is empty and linear_probe False: there is nothing"),
        ({"temperature": 0}, "temperature must be above 0, got 0"),
    ],
)
def test_evaluate_encoder_refuses(encoder, images, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        evaluate_with(encoder, images, **changes)
    assert "\n" not in str(caught.value)


def test_evaluate_encoder_counts_the_images_of_a_dataset(encoder, images):
    dataset = tf.data.Dataset.from_tensor_slices(images[:9])
    with pytest.raises(ValueError, match="test_images holds 9 examples but test_labels 10"):
        evaluate_with(encoder, images, test_images=dataset)
    with pytest.raises(ValueError, match="train_images holds 9 examples but train_labels 20"):
        evaluate_with(encoder, images, train_images=dataset)
