"""WebP files, but for animated ones."""

import tensorflow as tf

from sogclr_tf.data.files.little_endian import whole


def shape(head: tf.Tensor) -> tf.Tensor:
    """(height, width) of any of the three kinds, lossy, lossless and extended: int32 [2].

    Args:
        head: int32 [30 or more], the first bytes.
    """
    lossy = tf.stack([whole(head[28:30]), whole(head[26:28])]) & 0x3FFF
    bits = whole(head[21:25])
    lossless = 1 + (tf.stack([tf.bitwise.right_shift(bits, 14), bits]) & 0x3FFF)
    extended = 1 + tf.stack([whole(head[27:30]), whole(head[24:27])])
    kind = head[15]
    known = [ord(" "), ord("L"), ord("X")]
    return tf.reduce_sum(
        tf.where((kind == known)[:, tf.newaxis], [lossy, lossless, extended], 0), axis=0
    )


def pixels(encoded: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """uint8 [height, width, 3].

    Args:
        encoded: scalar string, the bytes of the file.
        head: int32 [30 or more], the first of them.

    Raises:
        tf.errors.InvalidArgumentError: it is animated, or damaged.
    """
    # Asked for the channels that it has, TensorFlow's decoder corrupts memory on animations.
    still = (head[15] != ord("X")) | (head[20] & 2 == 0)
    with tf.control_dependencies([tf.debugging.Assert(still, ["animated WebP cannot be read"])]):
        encoded = tf.identity(encoded)
    return tf.raw_ops.DecodeWebP(contents=encoded, channels=0)[0, ..., :3]
