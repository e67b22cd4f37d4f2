"""Many strings as one tensor."""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf


class Strings:
    """Many strings as one tensor, because a million Python strings are large.

    Args:
        text: bytes, all of them one after the other.
        starts: int64 [N + 1]; string i is text[starts[i] : starts[i + 1]].
    """

    def __init__(self, text: bytes, starts: np.ndarray) -> None:
        self.text, self.starts = tf.constant(text), tf.constant(starts)

    @classmethod
    def of(cls, strings: Iterable[str]) -> "Strings":
        """Those of a list of text or of paths, whose bytes may be no text."""
        encoded = [string.encode(errors="surrogateescape") for string in strings]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return cls(b"".join(encoded), np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def some(self, rows: np.ndarray) -> list[bytes]:
        """Those of some places."""
        text, starts = self.text.numpy(), self.starts.numpy()
        bounds = zip(starts[rows].tolist(), starts[rows + 1].tolist(), strict=True)
        return [text[start:end] for start, end in bounds]

    def __getitem__(self, row: int | tf.Tensor) -> tf.Tensor:
        start, end = self.starts[row], self.starts[row + 1]
        return tf.strings.substr(self.text, start, end - start)
