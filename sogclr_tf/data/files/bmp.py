"""BMP files, of which TensorFlow decodes some without their palette."""

import tensorflow as tf

from sogclr_tf.data.files.little_endian import whole
from sogclr_tf.data.files.outlined import outlined


def shape(head: tf.Tensor) -> tf.Tensor:
    """(height, width) as the header tells: int32 [2].

    Args:
        head: int32 [26 or more], the first bytes.
    """
    return tf.abs(tf.stack([whole(head[22:26]), whole(head[18:22])]))


@outlined
def pixels(encoded: tf.Tensor) -> tf.Tensor:
    """Those of a BMP of 8 (gray or palette), 24 or 32 bits: uint8 [height, width, 3].

    Raises:
        tf.errors.InvalidArgumentError: it is compressed, or has other bits.
    """
    head = tf.cast(tf.io.decode_raw(encoded, tf.uint8, fixed_length=34), tf.int32)
    header, bits, compression = whole(head[14:18]), whole(head[28:30]), whole(head[30:34])
    good = (header >= 40) & (compression == 0) & tf.reduce_any(bits == [8, 24, 32])
    check = tf.debugging.Assert(
        good, ["BMP that cannot be read: compressed, or not of 8, 24 or 32 bits but", bits]
    )
    with tf.control_dependencies([check]):
        encoded = tf.identity(encoded)
    stored = tf.io.decode_bmp(encoded)
    return tf.cond(
        bits == 8,
        lambda: tf.gather(_palette(encoded, header), tf.cast(stored[..., 0], tf.int32)),
        lambda: stored[..., :3],
    )


def _palette(encoded, header):
    """The colors of a BMP, black where the table ends early: uint8 [256, 3]."""
    table = tf.io.decode_raw(encoded, tf.uint8)[14 + header :][: 4 * 256]
    table = tf.pad(table, [[0, 4 * 256 - tf.size(table)]])
    return tf.reshape(table, [256, 4])[:, 2::-1]
