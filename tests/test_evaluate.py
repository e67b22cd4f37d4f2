import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize

from sogclr_tf import evaluate


@pytest.fixture(scope="module")
def digits():
    """Train features, train labels, test features, test labels: the pixels are the features."""
    features, labels = load_digits(return_X_y=True)
    features = (features / 16).astype(np.float32)
    return features[:1200], labels[:1200], features[1200:], labels[1200:]


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Flatten(),
        ]
    )


@pytest.fixture(scope="module")
def images(digits):
    grey = np.concatenate([digits[0], digits[2]]).reshape(-1, 8, 8, 1)
    return np.round(np.repeat(grey, 3, axis=-1) * 255).astype(np.uint8)


def agreement(predicted, expected):
    return 100 * np.mean(predicted == expected)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (20, 0.07), (200, 0.07), (200, 1.0)])
def test_knn_agrees_with_scikit_learn(digits, k, temperature):
    train, labels, test, _ = digits
    # Between vectors of length 1 the squared distance is 2 - 2 s.
    reference = KNeighborsClassifier(
        k, weights=lambda distance: np.exp((1 - distance**2 / 2) / temperature)
    ).fit(normalize(train), labels)
    predicted = evaluate.knn_predict(
        train, labels, test, k=k, temperature=temperature, num_classes=10
    )
    assert predicted.dtype == np.int32
    assert agreement(predicted, reference.predict(normalize(test))) >= 99.8


def test_knn_in_the_head():
    train = np.array([[3.0, 0], [0, 1], [0, 5], [-1, 0]])
    labels = np.array([2, 0, 0, 1])
    query = np.array([[1.0, 0.5]])  # cosines 0.894, 0.447, 0.447, -0.894

    def predicted(**settings):
        return evaluate.knn_predict(train, labels, query, num_classes=3, **settings).tolist()

    assert predicted(k=1, temperature=0.1) == [2]
    assert predicted(k=3, temperature=0.1) == [2]  # e^8.94 against 2 e^4.47
    assert predicted(k=3, temperature=1.0) == [0]  # 2.45 against 2 * 1.56
    assert predicted(k=99, temperature=1e-4) == [2]  # exp(s / temperature) itself would overflow


def test_knn_equal_votes_go_to_the_lowest_class():
    train = np.array([[1.0, 1.0], [1.0, -1.0]])
    predicted = evaluate.knn_predict(train, [1, 0], [[1.0, 0.0]], num_classes=2)
    assert predicted.tolist() == [0]


def test_knn_does_not_depend_on_the_block_size(digits, monkeypatch):
    train, labels, test, _ = digits
    whole = evaluate.knn_predict(train, labels, test, k=20, num_classes=10)
    for block_size in (1, 7, len(test), 10_000):
        blocked = evaluate.knn_predict(
            train, labels, test, k=20, num_classes=10, block_size=block_size
        )
        np.testing.assert_array_equal(blocked, whole)
    monkeypatch.setattr(evaluate, "SIMILARITIES_PER_BLOCK", 1)
    bounded = evaluate.knn_predict(train, labels, test, k=20, num_classes=10)
    np.testing.assert_array_equal(bounded, whole)


def test_linear_probe_agrees_with_plain_logistic_regression(digits):
    train, labels, test, test_labels = digits
    scaler = StandardScaler().fit(train)
    reference = LogisticRegression(C=0.1, max_iter=1000).fit(scaler.transform(train), labels)
    predicted = evaluate.linear_probe(train, labels, test, regularisation=0.1)
    assert predicted.dtype == np.int32
    expected = reference.predict(scaler.transform(test))
    assert abs(agreement(predicted, test_labels) - agreement(expected, test_labels)) <= 0.5
    assert agreement(predicted, expected) >= 99.5


def test_linear_probe_chooses_the_strength(digits):
    train, labels, test, _ = digits
    # At 1e-7 the weights stay near 0 and all examples fall into the largest class.
    poor = evaluate.linear_probe(train, labels, test, regularisation=1e-7)
    good = evaluate.linear_probe(train, labels, test, regularisation=0.1)
    chosen = evaluate.linear_probe(train, labels, test, regularisation=(1e-7, 0.1))
    assert agreement(poor, good) < 90
    np.testing.assert_array_equal(chosen, good)


def test_linear_probe_repeats_by_seed_and_warns_of_nothing(digits, recwarn):
    train, labels, test, _ = digits
    first = evaluate.linear_probe(train, labels, test, seed=3, max_iterations=5)
    second = evaluate.linear_probe(train, labels, test, seed=3, max_iterations=5)
    np.testing.assert_array_equal(first, second)
    assert not recwarn.list


def test_linear_probe_keeps_every_class_in_the_fit():
    features = np.eye(3)[[0, 1, 2, 2, 2, 2]]
    labels = np.array([0, 1, 2, 2, 2, 2])
    for seed in range(5):
        predicted = evaluate.linear_probe(features, labels, np.eye(3), seed=seed)
        assert predicted.shape == (3,)


def test_extract_features_equals_predict(encoder, images):
    expected = encoder.predict(images[:50] / np.float32(255), verbose=0)
    extracted = evaluate.extract_features(encoder, images[:50], batch_size=16)
    assert extracted.dtype == np.float32
    np.testing.assert_allclose(extracted, expected, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 64])
def test_extract_features_does_not_depend_on_the_batch_size(encoder, images, batch_size):
    expected = evaluate.extract_features(encoder, images[:50], batch_size=10)
    extracted = evaluate.extract_features(encoder, images[:50], batch_size=batch_size)
    np.testing.assert_allclose(extracted, expected, atol=1e-5)


def test_extract_features_takes_datasets_and_floats(encoder, images):
    expected = evaluate.extract_features(encoder, images[:20], batch_size=8)
    dataset = tf.data.Dataset.from_tensor_slices(images[:20])
    for source in (dataset, images[:20] / 255, dataset.map(lambda x: tf.cast(x, tf.float32) / 255)):
        extracted = evaluate.extract_features(encoder, source, batch_size=8)
        np.testing.assert_allclose(extracted, expected, atol=1e-5)


def test_extract_features_traces_once(images):
    shapes = []

    def encoder(batch, training):
        shapes.append(tuple(batch.shape))
        assert training is False
        return tf.reduce_mean(batch, axis=(1, 2))

    evaluate.extract_features(encoder, images[:50], batch_size=16)
    assert shapes == [(16, 8, 8, 3)]


def test_extract_features_are_float32_under_bfloat16(images):
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, dtype="mixed_bfloat16"),
            keras.layers.GlobalAveragePooling2D(dtype="mixed_bfloat16"),
        ]
    )
    assert evaluate.extract_features(encoder, images[:3]).dtype == np.float32


def test_judge(encoder, images, digits):
    _, labels, _, test_labels = digits
    scores = evaluate.judge(encoder, images[:1200], labels, images[1200:], test_labels, k=20)
    features = evaluate.extract_features(encoder, images)
    np.testing.assert_allclose(scores.train_features, features[:1200], atol=1e-5)
    np.testing.assert_allclose(scores.test_features, features[1200:], atol=1e-5)
    predicted = evaluate.knn_predict(features[:1200], labels, features[1200:], k=20, num_classes=10)
    assert scores.knn_top1 == pytest.approx(agreement(predicted, test_labels), abs=0.2)
    assert 85 < scores.knn_top1 <= 100
    assert 85 < scores.linear_top1 <= 100
    assert "features" not in repr(scores)


def test_judge_counts_a_class_that_training_lacks_as_wrong(images, digits):
    labels = digits[1][:100]
    unseen = np.full(20, 11)
    flatten = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    scores = evaluate.judge(flatten, images[:100], labels, images[:20], unseen)
    assert (scores.knn_top1, scores.linear_top1) == (0.0, 0.0)


def judge_with(encoder, images, **changes):
    arguments = {
        "train_images": images[:20],
        "train_labels": np.arange(20) % 2,
        "test_images": images[:10],
        "test_labels": np.arange(10) % 2,
    }
    return evaluate.judge(encoder, **(arguments | changes))


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
    ],
)
def test_judge_refuses(encoder, images, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        judge_with(encoder, images, **changes)
    assert "\n" not in str(caught.value)


def test_judge_counts_the_images_of_a_dataset(encoder, images):
    dataset = tf.data.Dataset.from_tensor_slices(images[:9])
    with pytest.raises(ValueError, match="test_images holds 9 examples but test_labels 10"):
        judge_with(encoder, images, test_images=dataset)
    with pytest.raises(ValueError, match="train_images holds 9 examples but train_labels 20"):
        judge_with(encoder, images, train_images=dataset)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((8, 8, 3), np.uint8), r"must be \[N, H, W, C\], got shape \(8, 8, 3\)"),
        (np.zeros((0, 8, 8, 3), np.uint8), "no images"),
        (np.zeros((2, 8, 8, 3), np.int64), "got dtype int64"),
        (np.full((2, 8, 8, 3), 255.0), "0..1, got 255..255"),
        (np.full((2, 8, 8, 3), np.nan), "0..1, got nan"),
        (tf.data.Dataset.from_tensors(np.zeros((2, 8, 8, 3))), "single images"),
        (tf.data.Dataset.from_tensors((np.zeros((8, 8, 3)), 1)), "single images"),
    ],
)
def test_extract_features_refuses(encoder, images, message):
    with pytest.raises(ValueError, match=message):
        evaluate.extract_features(encoder, images)


def test_extract_features_refuses_a_feature_map(images):
    encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=r"features \[B, D\], got shape \(4, 6, 6, 2\)"):
        evaluate.extract_features(encoder, images[:4], batch_size=4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_features": np.ones((2, 5))}, r"of one C, got shapes \(4, 3\) and \(2, 5\)"),
        ({"train_labels": [0, 1]}, "holds 4 examples but train_labels 2"),
        ({"train_labels": [0, 1, 2, 3]}, "hold class 3, but num_classes is 3"),
        ({"k": 0}, "k must be above 0, got 0"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"block_size": 0}, "block_size must be at least 1, got 0"),
        ({"train_features": np.full((4, 3), np.nan)}, "12 numbers that are not finite"),
        ({"test_features": np.ones((0, 3))}, "not empty"),
    ],
)
def test_knn_refuses(changes, message):
    arguments = {
        "train_features": np.ones((4, 3)),
        "train_labels": [0, 1, 2, 2],
        "test_features": np.ones((2, 3)),
        "num_classes": 3,
    }
    with pytest.raises(ValueError, match=message):
        evaluate.knn_predict(**(arguments | changes))


def test_linear_probe_refuses():
    features = np.ones((4, 3))
    with pytest.raises(ValueError, match="regularisation must be numbers above 0, got -1"):
        evaluate.linear_probe(features, [0, 1, 0, 1], features, regularisation=-1)
    with pytest.raises(ValueError, match="at least 2 different classes, got 1"):
        evaluate.linear_probe(features, [1, 1, 1, 1], features)
    with pytest.raises(ValueError, match="No class has two of the 4 training examples"):
        evaluate.linear_probe(features, [0, 1, 2, 3], features)
