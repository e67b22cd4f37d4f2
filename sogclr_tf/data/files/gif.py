"""The first frame of a GIF."""

import tensorflow as tf

# More than any part that is read at once.
_PADDING = 64


def first_frame(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(a GIF of the first frame alone, at the corner of its screen; its shape int32 [2])."""
    data = tf.io.decode_raw(encoded, tf.uint8)
    size = tf.size(data)
    # Past the end there are zeros, which end every chain of blocks.
    data = tf.cast(tf.pad(data, [[0, _PADDING]]), tf.int32)
    flags = data[10]
    start = 13 + tf.where(flags & 0x80 != 0, 3 * tf.bitwise.left_shift(2, flags & 7), 0)
    (place,) = tf.while_loop(
        lambda place: data[tf.minimum(place, size)] == ord("!"),
        lambda place: (_after_blocks(data, place + 2, size),),
        (start,),
    )
    found = (place < size) & (data[tf.minimum(place, size)] == ord(","))
    with tf.control_dependencies([tf.debugging.Assert(found, ["truncated GIF"])]):
        frame = tf.ensure_shape(tf.slice(data, [place + 1], [9]), [9])
    local = tf.where(frame[8] & 0x80 != 0, 3 * tf.bitwise.left_shift(2, frame[8] & 7), 0)
    end = _after_blocks(data, place + 11 + local, size)
    alone = tf.strings.join(
        [
            tf.strings.substr(encoded, 0, place + 1),
            b"\0\0\0\0",
            tf.strings.substr(encoded, place + 5, end - place - 5),
            b";",
        ]
    )
    return alone, tf.stack([_short(frame[6:8]), _short(frame[4:6])])


def _after_blocks(data, place, size):
    """Where a chain of blocks that starts at `place`, each after its length, is over."""
    (place,) = tf.while_loop(
        lambda place: data[tf.minimum(place, size)] != 0,
        lambda place: (place + 1 + data[place],),
        (place,),
    )
    return tf.minimum(place + 1, size)


def _short(digits):
    return digits[0] + 256 * digits[1]
