"""Checks of features and of what is compared with them."""

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np


def checked_features(
    train_features: Any, train_labels: np.ndarray, test_features: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Training and test features as float32 [N, C] and [M, C], if they are finite.

    Raises:
        ValueError: they are not, or the labels are of another number.
    """
    pair = checked_pair(train_features, test_features, "train_features", "test_features")
    check_lengths("train_features", pair[0], "train_labels", train_labels)
    return pair


def checked_pair(
    first: Any, second: Any, first_name: str, second_name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Both as float32 arrays, for half the memory and twice the speed of float64."""
    first, second = np.asarray(first, np.float32), np.asarray(second, np.float32)
    if not (first.ndim == second.ndim == 2 and first.shape[1] == second.shape[1]):
        raise ValueError(
            f"{first_name} and {second_name} must be [N, C] and [M, C] of one C, "
            f"got shapes {first.shape} and {second.shape}."
        )
    check_finite(first, first_name)
    check_finite(second, second_name)
    return first, second


def check_finite(features: np.ndarray, name: str) -> None:
    """Raises ValueError unless there are features, all of them finite."""
    if len(features) == 0 or not np.isfinite(features).all():
        raise ValueError(
            f"{name} must be finite and not empty, got shape {features.shape} with "
            f"{np.count_nonzero(~np.isfinite(features))} numbers that are not finite."
        )


def check_votes(ks: Sequence[int], temperature: float) -> None:
    """Raises ValueError unless all numbers of neighbors and the temperature are above 0."""
    for name, value in (*(("k", k) for k in ks), ("temperature", temperature)):
        if not value > 0:
            raise ValueError(f"{name} must be above 0, got {value}.")


def check_lengths(values_name: str, values: Sized, labels_name: str, labels: Sized) -> None:
    """Raises ValueError unless there is a label for each value."""
    if len(values) != len(labels):
        raise ValueError(
            f"{values_name} holds {len(values)} examples but {labels_name} {len(labels)}: "
            "pass one label for each."
        )
