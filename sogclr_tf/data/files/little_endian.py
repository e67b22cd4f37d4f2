"""Numbers in the headers of files, their lowest byte first."""

import numpy as np
import tensorflow as tf


def whole(digits: tf.Tensor) -> tf.Tensor:
    """Bytes from the lowest to the highest as one number: int32.

    Args:
        digits: int32 [n], n at most 4.
    """
    return tf.reduce_sum(digits * (1 << (8 * np.arange(digits.shape[0], dtype=np.int32))))
