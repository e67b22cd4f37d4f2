"""How often a classifier is right, as a share in 0..1."""

import dataclasses
from typing import Any

import numpy as np

from sogclr_tf.data.sources.labels import checked_labels
from sogclr_tf.evaluation import checks
from sogclr_tf.models.linear_probe import LinearProbe


@dataclasses.dataclass(frozen=True)
class Classified:
    """What a classifier made of the test images.

    Attributes:
        top1: how often the highest score is that of the true class, in 0..1.
        top5: how often it is among the five highest; None where there are at most five classes.
        predictions: int32 [M], the class of the highest score.
        probe: `LinearProbe`, a linear classifier that is to be kept; None of others.
    """

    top1: float
    top5: float | None
    predictions: np.ndarray = dataclasses.field(repr=False, compare=False)
    probe: LinearProbe | None = dataclasses.field(default=None, repr=False, compare=False)


def classify(scores: np.ndarray, labels: Any) -> Classified:
    """`Classified` from the scores of every class.

    Args:
        scores: float [M, K], -inf for classes that were never trained.
        labels: integers [M] from 0.

    Raises:
        ValueError: as `top_k`.
    """
    return Classified(
        top1=top_k(scores, labels, 1),
        top5=top_k(scores, labels, 5) if scores.shape[1] > 5 else None,
        predictions=scores.argmax(axis=1).astype(np.int32),
    )


def top_k(scores: Any, labels: Any, k: int) -> float:
    """How often the true class is among the k highest scores: a float in 0..1.

    Of equal scores the lowest class comes first, as in argmax. A label from K up, and one whose
    score is -inf, counts as wrong.

    Args:
        scores: float [M, K], not NaN.
        labels: integers [M] from 0.
        k: int >= 1.

    Raises:
        ValueError: scores of another shape or with NaN, labels that are not as above, or k < 1.
    """
    scores, labels = np.asarray(scores), checked_labels(labels, "labels")
    if scores.ndim != 2 or np.isnan(scores).any():
        raise ValueError(
            f"scores must be [M, K] without NaN, got shape {scores.shape} with "
            f"{np.count_nonzero(np.isnan(scores))} NaN."
        )
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}.")
    checks.check_lengths("scores", scores, "labels", labels)
    classes = scores.shape[1]
    known = labels < classes
    column = np.where(known, labels, 0)[:, None]
    own = np.take_along_axis(scores, column, axis=1)
    ahead = (scores > own) | ((scores == own) & (np.arange(classes) < column))
    return accuracy(known & (own[:, 0] > -np.inf) & (ahead.sum(axis=1) < k))


def accuracy(correct: np.ndarray) -> float:
    """The share of true values, a float in 0..1."""
    return float(np.mean(correct))
