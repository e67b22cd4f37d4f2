"""The texts of images: one each, or several."""

import numpy as np
import tensorflow as tf

from sogclr_tf.data.sources.strings import Strings


class Captions:
    """The texts of the rows of a collection.

    Args:
        texts: `Strings`, those of row 0, then those of row 1, and so on.
        counts: int [rows], how many each has; None where each has one.
    """

    def __init__(self, texts: Strings, counts: np.ndarray | None = None) -> None:
        self._texts = texts
        self._counts = counts
        self._starts = None if counts is None else tf.constant(offsets_of(counts))

    def of_row(self, row: tf.Tensor) -> tf.Tensor:
        """The text of a row: a string scalar, or where rows have several string [k]."""
        if self._starts is None:
            return self._texts[row]
        first, end = self._starts[row], self._starts[row + 1]
        starts = self._texts.starts[first : end + 1]
        return tf.strings.substr(self._texts.text, starts[:-1], starts[1:] - starts[:-1])

    def offsets(self, indices: np.ndarray | None, num_examples: int) -> np.ndarray | None:
        """As `Source.caption_offsets`; an index that no row has counts as one text.

        Args:
            indices: int [rows], those of the rows; None for 0, 1, 2 ...
            num_examples: indices lie in [0, num_examples).
        """
        if self._counts is None or indices is None:
            return None if self._counts is None else offsets_of(self._counts)
        counts = np.ones(num_examples, np.int64)
        counts[indices] = self._counts
        return offsets_of(counts)


def offsets_of(counts: np.ndarray) -> np.ndarray:
    """Where the texts of each begin, and where those of the last end: int64 [N + 1]."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
