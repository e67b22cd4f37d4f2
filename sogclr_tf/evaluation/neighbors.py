"""The nearest neighbors of features, and how they vote."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.preprocessing import normalize

from sogclr_tf.data.sources.labels import checked_labels
from sogclr_tf.evaluation import checks

SIMILARITIES_PER_BLOCK = 2**24


def knn_predict(
    train_features: Any,
    train_labels: Any,
    test_features: Any,
    *,
    k: int = 200,
    temperature: float = 0.07,
    num_classes: int,
    block_size: int | None = None,
) -> np.ndarray:
    """Classifies by a weighted vote of the nearest training examples.

    The k training examples of highest cosine similarity s to a test example each vote for their
    class with weight exp(s / temperature); the class of the largest sum wins, the lowest such
    class where sums are equal. k = 200 and temperature 0.07 are the values of Wu et al. 2018
    (arXiv 1805.01978, section 3.4).

    Args:
        train_features: float [N, C]; normalized here.
        train_labels: integers [N] in 0..num_classes - 1.
        test_features: float [M, C]; normalized here.
        k: how many neighbors vote; N where k is larger.
        temperature: above 0.
        num_classes: how many classes there are.
        block_size: test examples compared at a time. By default as many as keep the block of
            similarities at 2**24 numbers (64 MiB), whatever N is.

    Returns:
        int32 [M], the class of each test example.

    Raises:
        ValueError: arguments outside what is stated above, or features that are not finite.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> bank = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], "float32")
        >>> classes = np.array([0, 0, 1, 1])
        >>> queries = np.array([[1, 0.2], [0.2, 1]], "float32")
        >>> sogclr_tf.knn_predict(bank, classes, queries, k=3, num_classes=2).tolist()
        [0, 1]
    """
    train_labels = checked_labels(train_labels, "train_labels")
    train_features, test_features = checks.checked_features(
        train_features, train_labels, test_features
    )
    if train_labels.max() >= num_classes:
        raise ValueError(
            f"train_labels hold class {train_labels.max()}, but num_classes is {num_classes}: "
            "pass a num_classes above the highest label."
        )
    checks.check_votes((k,), temperature)
    votes = votes_of_neighbors(
        train_features, train_labels, test_features, (k,), temperature, num_classes, block_size
    )
    return votes[k]


def nearest(
    queries: Any,
    features: Any,
    k: int,
    *,
    own_rows: Sequence | np.ndarray | None = None,
    block_size: int | None = None,
) -> np.ndarray:
    """The rows of `features` of highest cosine similarity to each query, the nearest first.

        features = extract_features(encoder, images)
        nearest(features[:8], features, 5, own_rows=range(8))

    Args:
        queries: float [Q, C]; normalized here.
        features: float [N, C]; normalized here.
        k: how many to find, 1..N, or 1..N - 1 with `own_rows`.
        own_rows: integers [Q] in 0..N - 1, a row for each query that is not to be found, as it is
            the query itself.
        block_size: queries compared at a time, by default as in `knn_predict`.

    Returns:
        int64 [Q, k].

    Raises:
        ValueError: arguments outside what is stated above, or features that are not finite.
    """
    queries, features = checks.checked_pair(queries, features, "queries", "features")
    most = len(features) - (own_rows is not None)
    if not 1 <= k <= most:
        raise ValueError(f"k must be in 1..{most} for {len(features)} features, got {k}.")
    if own_rows is not None:
        own_rows = checked_labels(list(own_rows), "own_rows")
        checks.check_lengths("queries", queries, "own_rows", own_rows)
        if own_rows.max() >= len(features):
            raise ValueError(
                f"own_rows hold {own_rows.max()}, but there are {len(features)} features: pass "
                "rows of features."
            )
    return np.concatenate(
        [rows for rows, _ in _nearest(queries, features, k, block_size, own_rows)]
    )


def votes_of_neighbors(
    features: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    ks: Sequence[int],
    temperature: float,
    num_classes: int,
    block_size: int | None = None,
) -> dict[int, np.ndarray]:
    """{k: the class of each query by the votes of its k nearest, int32 [Q]}."""
    votes: dict[int, list] = {k: [] for k in ks}
    for rows, similarities in _nearest(queries, features, max(ks), block_size):
        for k, parts in votes.items():
            voters = labels[rows[:, :k]]
            parts.append(_vote(similarities[:, :k], voters, temperature, num_classes))
    return {k: np.concatenate(parts) for k, parts in votes.items()}


def _nearest(queries, features, k, block_size, own_rows=None):
    """Yields rows of `features`, int64 [B, k], and their cosines, for one block of queries each.

    The nearest first; all N where k is larger.
    """
    k = min(k, len(features))
    keys, queries = normalize(features).T, normalize(queries)
    for block in blocks(len(queries), len(features), block_size):
        similarities = queries[block] @ keys
        if own_rows is not None:
            np.put_along_axis(similarities, own_rows[block, None], -np.inf, axis=1)
        rows = np.argpartition(similarities, -k, axis=1)[:, -k:]
        similarities = np.take_along_axis(similarities, rows, axis=1)
        order = np.argsort(-similarities, axis=1, kind="stable")
        yield tuple(np.take_along_axis(x, order, axis=1) for x in (rows, similarities))


def blocks(rows: int, columns: int, block_size: int | None) -> list[slice]:
    """Slices of the rows of a matrix of which one block is held at a time."""
    if block_size is None:
        block_size = max(1, SIMILARITIES_PER_BLOCK // columns)
    elif block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}.")
    return [slice(start, start + block_size) for start in range(0, rows, block_size)]


def _vote(similarities, voters, temperature, num_classes):
    """similarities float32 [B, k] of voters of classes int [B, k] -> int32 [B]."""
    similarities = similarities.astype(np.float64)
    # Only ratios of weights count; measured from the nearest, none overflows at low temperature.
    weights = np.exp((similarities - similarities.max(axis=1, keepdims=True)) / temperature)
    rows = np.arange(len(voters))[:, None]
    votes = np.bincount(
        (rows * num_classes + voters).ravel(),
        weights=weights.ravel(),
        minlength=len(voters) * num_classes,
    )
    return votes.reshape(-1, num_classes).argmax(axis=1).astype(np.int32)
