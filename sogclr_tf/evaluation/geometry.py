"""How features lie on the sphere: alignment and uniformity."""

from typing import Any

import numpy as np
from sklearn.preprocessing import normalize

from sogclr_tf.evaluation import checks
from sogclr_tf.evaluation.neighbors import blocks


def alignment(features_a: Any, features_b: Any) -> float:
    """How far apart the two views of an example lie: mean ||a - b||^2, a float in 0..4.

    Wang and Isola 2020 (arXiv 2005.10242), with alpha = 2. 0 where both are the same, about 2
    where they have nothing in common; lower is better, at equal `uniformity`.

    Args:
        features_a: float [N, C], of one view of each example; L2-normalized here.
        features_b: float [N, C], of the other.

    Raises:
        ValueError: shapes that differ, features that are not finite, or none.
    """
    features_a, features_b = checks.checked_pair(features_a, features_b, "features_a", "features_b")
    if len(features_a) != len(features_b):
        raise ValueError(
            f"features_a holds {len(features_a)} examples, features_b {len(features_b)}: pass two "
            "views of the same examples."
        )
    differences = normalize(features_a) - normalize(features_b)
    return float(np.square(differences, dtype=np.float64).sum(axis=1).mean())


def uniformity(features: Any, *, t: float = 2.0, block_size: int | None = None) -> float:
    """How evenly features cover the sphere: log mean_{i<j} exp(-t ||x_i - x_j||^2), a float.

    Wang and Isola 2020 (arXiv 2005.10242), with t = 2. 0 where all are the same, about -2 t where
    they lie evenly in many dimensions; lower is better, at equal `alignment`.

    Args:
        features: float [N, C], N >= 2; L2-normalized here.
        t: above 0.
        block_size: rows compared with all others at a time, by default as in `knn_predict`.

    Raises:
        ValueError: arguments outside what is stated above, or features that are not finite.
    """
    features = np.asarray(features, np.float32)
    checks.check_finite(features, "features")
    count = len(features)
    if features.ndim != 2 or count < 2:
        raise ValueError(
            f"uniformity compares pairs, got features of shape {features.shape}: pass [N, C] of at "
            "least 2 examples."
        )
    if not t > 0:
        raise ValueError(f"t must be above 0, got {t}.")
    features, total = normalize(features), 0.0
    for block in blocks(count, count, block_size):
        # Pairs with earlier rows were counted with those.
        similarities = features[block] @ features[block.start :].T
        kernel = np.exp(2 * t * (similarities - 1))
        total += np.triu(kernel, 1).sum(dtype=np.float64)
    return float(np.log(total / (count * (count - 1) / 2)))
