"""The labels of a source: as int32, and whether they are classes."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

# What stands for all labels that int32 cannot hold.
_TOO_LARGE = 2**31 - 1


def checked(
    pairs: np.ndarray, class_names: Sequence[str] | None, locate: Callable[[int], str]
) -> np.ndarray:
    """int32 [N], the labels of pairs of index and label, int32 [N, 2].

    Args:
        pairs: as `Source.indices_and_labels` gives them.
        class_names: of the source, or None.
        locate: from an index to where its example lies, for messages.

    Raises:
        ValueError: a label is below 0, or has no class name where there are class names.
    """
    count = len(class_names) if class_names else np.inf
    wrong = np.flatnonzero((pairs[:, 1] < 0) | (pairs[:, 1] >= min(count, _TOO_LARGE)))
    if len(wrong):
        index, label = pairs[wrong[0]]
        expected = f"in [0, {count}), a class" if class_names else ">= 0"
        raise ValueError(
            f"{locate(int(index))} has label {label} ({len(wrong)} such in all): expected "
            f"a whole number {expected}"
        )
    return pairs[:, 1]


def as_int32(parts: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """An example with its label as int32; one that is too large for it is not wrapped to another.

    It becomes the largest, which no class can have.
    """
    if "label" in parts:
        parts["label"] = tf.saturate_cast(parts["label"], tf.int32)
    return parts
