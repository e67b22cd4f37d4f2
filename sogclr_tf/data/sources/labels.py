"""Checks of labels."""

from typing import Any

import numpy as np

from sogclr_tf.data.sources.base import Source


def check_labeled(source: Source) -> None:
    """Raises ValueError unless the images of a source have labels."""
    if not source.labeled:
        raise ValueError(f"{source.name} has no labels: give one for each image")


def checked_labels(labels: Any, name: str, classes: int = 1) -> np.ndarray:
    """Labels as an array, if they are integers [N] from 0 of at least `classes` classes.

    Raises:
        ValueError: they are not; the message calls them `name`.
    """
    if labels is None:
        raise ValueError(f"{name} is None: an evaluation takes a label for every image.")
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{name} must be integers [N], got dtype {labels.dtype}, shape {labels.shape}."
        )
    if len(np.unique(labels)) < classes:
        raise ValueError(
            f"{name} must hold at least {classes} different classes, got {len(np.unique(labels))}."
        )
    if labels.min() < 0:
        raise ValueError(
            f"{name} must be classes from 0, got {labels.min()}: leave unlabeled images out."
        )
    return labels
