"""Multinomial logistic regression on frozen features."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from sogclr_tf.data.sources.labels import checked_labels
from sogclr_tf.evaluation import checks
from sogclr_tf.models.linear_probe import LinearProbe

REGULARIZATION = (1e-3, 1e-2, 1e-1)


def fit_linear_probe(
    train_features: Any,
    train_labels: Any,
    *,
    seed: int = 0,
    regularization: float | Sequence[float] = REGULARIZATION,
    max_iterations: int = 100,
) -> LinearProbe:
    """Fits multinomial logistic regression to standardized frozen features.

    The features are shifted and scaled to mean 0 and variance 1 by the training examples, so
    that one grid of strengths suits every encoder. The strength is chosen by accuracy on a
    held-out tenth of the training examples and the regression is then fitted to all of them.
    L-BFGS is stopped early for the choice (tolerance 1e-3), for the ranking of strengths
    settles long before the weights do, and run to 1e-4 for the final fit. An optimum not reached
    within `max_iterations` is taken as it stands, for its accuracy is within noise by then.

    Args:
        train_features: float [N, C].
        train_labels: integers [N] from 0, of at least two classes.
        seed: which examples are held out.
        regularization: scikit-learn's C, the weight of the summed loss against half the squared
            norm of the weights: one number, used as it is, or several to choose from. On the 512
            features of a random convolutional network 1e-2 was best for 1,000 and 5,000 CIFAR-10
            images and 1e-1 for 50,000; 1 was never better and takes the longest.
        max_iterations: L-BFGS iterations per fit.

    Returns:
        `LinearProbe` of features as they are, for K classes, K one above the
        highest training label.

    Raises:
        ValueError: arguments outside what is stated above, features that are not finite, or no
            class with two examples, so that none can be held out.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> features = np.random.default_rng(0).normal(size=[200, 8]).astype("float32")
        >>> labels = (features[:, 0] > 0).astype(int)
        >>> probe = sogclr_tf.fit_linear_probe(features, labels)
        >>> accuracy = (probe.scores(features).argmax(axis=1) == labels).mean()
        >>> bool(accuracy > 0.95)
        True
    """
    train_labels = checked_labels(train_labels, "train_labels", classes=2)
    train_features, _ = checks.checked_features(train_features, train_labels, train_features)
    strengths = np.atleast_1d(regularization)
    if strengths.size == 0 or not np.all(strengths > 0):
        raise ValueError(f"regularization must be numbers above 0, got {regularization}.")
    scaler = StandardScaler().fit(train_features)
    train_features = scaler.transform(train_features)
    strength = strengths[0]
    if strengths.size > 1:
        strength = _best_strength(train_features, train_labels, strengths, seed, max_iterations)
    regression = _fit(train_features, train_labels, strength, 1e-4, max_iterations)
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(coefficients) == 1:
        # Of two classes scikit-learn gives the difference alone.
        coefficients, intercepts = (np.concatenate([0 * x, x]) for x in (coefficients, intercepts))
    kernel = np.zeros((train_features.shape[1], train_labels.max() + 1))
    bias = np.full(kernel.shape[1], -np.inf)
    kernel[:, regression.classes_], bias[regression.classes_] = coefficients.T, intercepts
    return LinearProbe.from_standardized(scaler.mean_, scaler.scale_, kernel, bias)


def _best_strength(features, labels, strengths, seed, max_iterations):
    order = np.random.default_rng(seed).permutation(len(labels))
    # One example of every class stays, so that the regression always knows all classes.
    kept = np.unique(labels[order], return_index=True)[1]
    held_out = np.delete(order, kept)[: max(1, len(labels) // 10)]
    if held_out.size == 0:
        raise ValueError(
            f"No class has two of the {len(labels)} training examples, so that none can be held "
            "out to choose the regularization: pass one number for it."
        )
    fitted = np.setdiff1d(order, held_out)
    accuracies = [
        _fit(features[fitted], labels[fitted], strength, 1e-3, max_iterations).score(
            features[held_out], labels[held_out]
        )
        for strength in strengths
    ]
    return strengths[int(np.argmax(accuracies))]


def _fit(features, labels, strength, tolerance, max_iterations):
    # Training does not wait for its import.
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(C=strength, tol=tolerance, max_iter=max_iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return regression.fit(features, labels)
