"""Nearest neighbors: those of scikit-learn and of loops."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize
from support.probes import agreement

from sogclr_tf.evaluation import neighbors
from sogclr_tf.evaluation.neighbors import knn_predict, nearest


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
