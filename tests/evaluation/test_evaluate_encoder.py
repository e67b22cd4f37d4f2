import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize
from support.bfloat16 import needs_bfloat16
from support.numerics import assert_close, close

import sogclr_tf
from sogclr_tf.data.sources.open import from_name
from sogclr_tf.evaluation import neighbors
from sogclr_tf.evaluation.evaluate_encoder import evaluate_encoder
from sogclr_tf.evaluation.features import extract_features
from sogclr_tf.evaluation.geometry import alignment, uniformity
from sogclr_tf.evaluation.linear_probe import fit_linear_probe
from sogclr_tf.evaluation.neighbors import knn_predict, nearest
from sogclr_tf.evaluation.scores import classify, top_k


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
    gray = np.concatenate([digits[0], digits[2]]).reshape(-1, 8, 8, 1)
    return np.round(np.repeat(gray, 3, axis=-1) * 255).astype(np.uint8)


def agreement(predicted, expected):
    return np.mean(predicted == expected)


def predicted_by_probe(features, labels, queries, **options):
    """The classes int32 of the queries, by a probe that is fitted to the features."""
    scores = fit_linear_probe(features, labels, **options).scores(queries)
    return scores.argmax(1).astype(np.int32)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (20, 0.07), (200, 0.07), (200, 1.0)])
def test_knn_agrees_with_scikit_learn(digits, k, temperature):
    train, labels, test, _ = digits
    # Between vectors of length 1 the squared distance is 2 - 2 s.
    reference = KNeighborsClassifier(
        k, weights=lambda distance: np.exp((1 - distance**2 / 2) / temperature)
    ).fit(normalize(train), labels)
    predicted = knn_predict(train, labels, test, k=k, temperature=temperature, num_classes=10)
    assert predicted.dtype == np.int32
    assert agreement(predicted, reference.predict(normalize(test))) >= 0.998


def test_knn_in_the_head():
    train = np.array([[3.0, 0], [0, 1], [0, 5], [-1, 0]])
    labels = np.array([2, 0, 0, 1])
    query = np.array([[1.0, 0.5]])  # cosines 0.894, 0.447, 0.447, -0.894

    def predicted(**settings):
        return knn_predict(train, labels, query, num_classes=3, **settings).tolist()

    assert predicted(k=1, temperature=0.1) == [2]
    assert predicted(k=3, temperature=0.1) == [2]  # e^8.94 against 2 e^4.47
    assert predicted(k=3, temperature=1.0) == [0]  # 2.45 against 2 * 1.56
    assert predicted(k=99, temperature=1e-4) == [2]  # exp(s / temperature) itself would overflow


def test_knn_equal_votes_go_to_the_lowest_class():
    train = np.array([[1.0, 1.0], [1.0, -1.0]])
    predicted = knn_predict(train, [1, 0], [[1.0, 0.0]], num_classes=2)
    assert predicted.tolist() == [0]


def test_knn_does_not_depend_on_the_block_size(digits, monkeypatch):
    train, labels, test, _ = digits
    whole = knn_predict(train, labels, test, k=20, num_classes=10)
    for block_size in (1, 7, len(test), 10_000):
        blocked = knn_predict(train, labels, test, k=20, num_classes=10, block_size=block_size)
        np.testing.assert_array_equal(blocked, whole)
    monkeypatch.setattr(neighbors, "SIMILARITIES_PER_BLOCK", 1)
    bounded = knn_predict(train, labels, test, k=20, num_classes=10)
    np.testing.assert_array_equal(bounded, whole)


@pytest.mark.parametrize("block_size", [None, 1, 7])
def test_nearest_agrees_with_a_loop(block_size):
    features = np.random.default_rng(0).normal(size=(40, 6))
    queries = features[10:20] * 3
    found = nearest(queries, features, 5, own_rows=range(10, 20), block_size=block_size)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    for query, rows in enumerate(found, start=10):
        others = [row for row in range(40) if row != query]
        expected = sorted(others, key=lambda row, query=query: -unit[query] @ unit[row])[:5]
        assert rows.tolist() == expected
    with_own = nearest(queries, features, 1, block_size=block_size)
    assert with_own.dtype == np.int64
    assert with_own[:, 0].tolist() == list(range(10, 20))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 4}, r"k must be in 1..3 for 4 features, got 4"),
        ({"k": 0, "own_rows": None}, r"k must be in 1..4 for 4 features, got 0"),
        ({"own_rows": [0]}, "queries holds 2 examples but own_rows 1"),
        ({"own_rows": [0, 4]}, "own_rows hold 4, but there are 4 features"),
        ({"queries": np.ones((2, 5))}, "queries and features must be .* of one C"),
    ],
)
def test_nearest_refuses(changes, message):
    arguments = {"queries": np.ones((2, 3)), "features": np.ones((4, 3)), "k": 1}
    with pytest.raises(ValueError, match=message):
        nearest(**(arguments | {"own_rows": [0, 1]} | changes))


def test_alignment_in_the_head():
    # The lengths do not count: the same direction, a right angle, the opposite.
    a = np.array([[1.0, 0], [0, 2], [1, 0]])
    b = np.array([[5.0, 0], [3, 0], [-1, 0]])
    assert alignment(a[:1], b[:1]) == 0
    assert alignment(a[1:2], b[1:2]) == 2
    assert alignment(a[2:], b[2:]) == 4
    assert alignment(a, b) == 2


def test_uniformity_in_the_head():
    assert uniformity([[1.0, 0], [3, 0]]) == 0
    assert uniformity([[1.0, 0], [-1, 0]]) == close(-2 * 4, terms=4)
    # A cross has four right angles, at distance 2, and two pairs of opposites, at 4.
    cross = [[1.0, 0], [0, 1], [-1, 0], [0, -1]]
    expected = np.log((4 * np.exp(-4) + 2 * np.exp(-8)) / 6)
    assert uniformity(cross) == close(expected, terms=4)
    assert uniformity(np.eye(1000)) == close(-4, terms=4)


@pytest.mark.parametrize("block_size", [None, 1, 7, 100])
@pytest.mark.parametrize("t", [2.0, 0.5])
def test_alignment_and_uniformity_agree_with_loops(block_size, t):
    a, b = np.random.default_rng(0).normal(size=(2, 30, 5))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    distances = [sum((a[i, c] - b[i, c]) ** 2 for c in range(5)) for i in range(30)]
    assert alignment(2 * a, b) == close(np.mean(distances))
    potentials = [np.exp(-t * np.sum((a[i] - a[j]) ** 2)) for j in range(30) for i in range(j)]
    found = uniformity(3 * a, t=t, block_size=block_size)
    assert found == close(np.log(np.mean(potentials)))


def test_alignment_and_uniformity_refuse():
    with pytest.raises(ValueError, match="features_a holds 2 examples, features_b 3"):
        alignment(np.ones((2, 4)), np.ones((3, 4)))
    with pytest.raises(ValueError, match="features_b must be finite"):
        alignment(np.ones((1, 2)), np.full((1, 2), np.nan))
    with pytest.raises(ValueError, match=r"compares pairs, got features of shape \(1, 4\)"):
        uniformity(np.ones((1, 4)))
    with pytest.raises(ValueError, match="t must be above 0, got 0"):
        uniformity(np.ones((2, 4)), t=0)


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


def test_extract_features_equals_predict(encoder, images):
    expected = encoder.predict(images[:50] / np.float32(255), verbose=0)
    extracted = extract_features(encoder, images[:50], batch_size=16)
    assert extracted.dtype == np.float32
    assert_close(extracted, expected)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 64])
def test_extract_features_does_not_depend_on_the_batch_size(encoder, images, batch_size):
    expected = extract_features(encoder, images[:50], batch_size=10)
    extracted = extract_features(encoder, images[:50], batch_size=batch_size)
    assert_close(extracted, expected)


def test_extract_features_takes_datasets_and_floats(encoder, images):
    expected = extract_features(encoder, images[:20], batch_size=8)
    dataset = tf.data.Dataset.from_tensor_slices(images[:20])
    for source in (dataset, images[:20] / 255, dataset.map(lambda x: tf.cast(x, tf.float32) / 255)):
        extracted = extract_features(encoder, source, batch_size=8)
        assert_close(extracted, expected)


def test_extract_features_traces_once(images):
    shapes = []

    def encoder(batch, training):
        shapes.append(tuple(batch.shape))
        assert training is False
        return tf.reduce_mean(batch, axis=(1, 2))

    extract_features(encoder, images[:50], batch_size=16)
    assert shapes == [(16, 8, 8, 3)]


@needs_bfloat16
def test_extract_features_are_float32_under_bfloat16(images):
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, dtype="mixed_bfloat16"),
            keras.layers.GlobalAveragePooling2D(dtype="mixed_bfloat16"),
        ]
    )
    assert extract_features(encoder, images[:3]).dtype == np.float32


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
        extract_features(encoder, images)


def test_extract_features_refuses_a_feature_map(images):
    encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=r"features \[B, D\], got shape \(4, 6, 6, 2\)"):
        extract_features(encoder, images[:4], batch_size=4)


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
        knn_predict(**(arguments | changes))


def test_linear_probe_refuses():
    features = np.ones((4, 3))
    with pytest.raises(ValueError, match="regularization must be numbers above 0, got -1"):
        predicted_by_probe(features, [0, 1, 0, 1], features, regularization=-1)
    with pytest.raises(ValueError, match="at least 2 different classes, got 1"):
        predicted_by_probe(features, [1, 1, 1, 1], features)
    with pytest.raises(ValueError, match="No class has two of the 4 training examples"):
        predicted_by_probe(features, [0, 1, 2, 3], features)
