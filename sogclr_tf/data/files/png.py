"""PNG files of 16 bits."""

import tensorflow as tf

from sogclr_tf.data.files.outlined import outlined

# The value from which on an image uses the highest of its 16 bits.
_HIGH = 2**15


def pixels(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    """All 16 bits: uint16 [height, width, channels].

    Args:
        encoded: scalar string, the bytes of a PNG file of 16 bits.
        channels: 1 or 3; gray is repeated, colors are weighted, an alpha channel is dropped.
    """
    return (_gray if channels == 1 else _colors)(encoded)


def upper_bits(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    """The upper 8 of 16 bits, of an image that uses the highest: uint8 [height, width, channels].

    Args:
        encoded, channels: as for `pixels`.

    Raises:
        tf.errors.InvalidArgumentError: the highest bit is not used, so that the image would be
            nearly black.
    """
    stored = pixels(encoded, channels)
    most = tf.reduce_max(tf.cast(stored, tf.int32))
    check = tf.debugging.Assert(
        most >= _HIGH,
        ["16 bits, but no value is above", most, "so state value_range=(0, that of white)"],
    )
    with tf.control_dependencies([check]):
        stored = tf.identity(stored)
    return tf.cast(tf.bitwise.right_shift(stored, tf.constant(8, tf.uint16)), tf.uint8)


@outlined
def _gray(encoded):
    return tf.io.decode_png(encoded, channels=1, dtype=tf.uint16)


@outlined
def _colors(encoded):
    return tf.io.decode_png(encoded, channels=3, dtype=tf.uint16)
