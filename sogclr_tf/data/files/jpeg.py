"""The pixels of JPEG files, whole or in part, and at libjpeg's own scales.

All are made by its accurate transform. Scaled down, an image has the ceiling of its height and
width divided by the ratio; a pixel is made of the coefficients of its block that it can show, and
is the mean of the pixels that it stands for, nearly.
"""

from collections.abc import Callable

import tensorflow as tf

from sogclr_tf.data.reduced import RATIOS

# Neighbors of a crop that its last columns are interpolated from, where color is subsampled.
_MARGIN = 4


def decoded(encoded: tf.Tensor, channels: int, ratio: int = 1) -> tf.Tensor:
    """All pixels as they are stored: uint8 [h, w, channels].

    Args:
        encoded: scalar string, the bytes of the file.
        channels: 1 or 3.
        ratio: by how much it is scaled down, one of `RATIOS`.
    """
    return tf.io.decode_jpeg(encoded, channels=channels, ratio=ratio, dct_method="INTEGER_ACCURATE")


def cropped(
    encoded: tf.Tensor, box: tf.Tensor, width: tf.Tensor, channels: int, ratio: int = 1
) -> tf.Tensor:
    """A rectangle of `decoded`, to the bit, for which little more than it is decoded.

    Args:
        encoded, channels, ratio: as for `decoded`.
        box: int32 [4], (top, left, height, width) in pixels of `decoded`.
        width: int32 scalar, of all of it.
    """
    top, left, height, columns = tf.unstack(box)
    start = tf.maximum(left - _MARGIN, 0)
    end = tf.minimum(left + columns + _MARGIN, width)
    window = tf.stack([top, start, height, end - start])
    pixels = tf.io.decode_and_crop_jpeg(
        encoded, window, channels=channels, ratio=ratio, dct_method="INTEGER_ACCURATE"
    )
    return part(pixels, [0, left - start, height, columns])


def scaled(
    encoded: tf.Tensor, box: tf.Tensor, ratio: tf.Tensor, width: tf.Tensor, channels: int
) -> tf.Tensor:
    """As `cropped`, of any ratio above 1 that is known when it runs.

    Args:
        ratio: int32 scalar.
    """

    def at(ratio):
        return tf.cond(
            is_ended(encoded),
            lambda: cropped(encoded, box, width, channels, ratio),
            lambda: part(decoded(encoded, channels, ratio), tf.unstack(box)),
        )

    return _of_ratio(ratio, at)


def is_ended(encoded: tf.Tensor) -> tf.Tensor:
    """Whether the file ends as a JPEG does: a bool scalar.

    One without an end, or with more after it, must be decoded whole, which tells one from the
    other.
    """
    return tf.strings.substr(encoded, -2, 2) == b"\xff\xd9"


def part(pixels: tf.Tensor, box: list) -> tf.Tensor:
    """Not by Python's slicing, which would cut a wrong box to what there is."""
    top, left, height, width = box
    return tf.slice(pixels, [top, left, 0], [height, width, pixels.shape[-1]])


def _of_ratio(ratio: tf.Tensor, made: Callable[[int], tf.Tensor]) -> tf.Tensor:
    place = tf.argmax(tf.cast(ratio == RATIOS[1:], tf.int32), output_type=tf.int32)
    return tf.switch_case(place, [lambda scale=scale: made(scale) for scale in RATIOS[1:]])
