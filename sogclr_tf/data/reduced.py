"""Images that are scaled down while they are decoded, and what is shown of them.

A camera's photograph has many times the pixels that a view of it shows. The decoder of JPEG gives
an image at a half, a quarter or an eighth of its sides in less time, in a fraction of the memory,
and each of its pixels is the mean of those that it stands for, nearly.
"""

from typing import NamedTuple

import tensorflow as tf

from sogclr_tf.data.files.outlined import called

# By how much an image can be scaled down.
RATIOS = (1, 2, 4, 8)
# The largest of them that is no more than 0, 1, 2 ... 8.
_AT_MOST = (1, 1, 2, 2, 4, 4, 4, 4, 8)
# Pixels of an image below which to scale it takes longer than it saves.
LEAST_PIXELS = 1_000_000


class Reduced(NamedTuple):
    """A rectangle of an image, scaled down by a whole number.

    Attributes:
        pixels: uint8, or float32 in 0..1, [h, w, C].
        corner: int32 [2], where in the image the first of them begins, (down, right) in pixels of
            the image. It may lie outside by less than `ratio`.
        ratio: how many pixels of the image each of them is high and wide: an int or int32 scalar,
            one of `RATIOS`.
    """

    pixels: tf.Tensor
    corner: tf.Tensor
    ratio: tf.Tensor | int


def ratio(shape: tf.Tensor, boxes: tf.Tensor, sizes: list[tuple[int, int]]) -> tf.Tensor:
    """The largest of `RATIOS` at which every rectangle still has the pixels of its view.

    Args:
        shape: int32 [2], (height, width) of the image.
        boxes: int32 [n, 4], (top, left, height, width) in pixels of the image.
        sizes: (height, width) of each view.

    Returns:
        int32 scalar; 1 where a rectangle has less than twice its view's height or width, and where
        the image has less than `LEAST_PIXELS`.
    """
    shares = tf.reduce_min(boxes[:, 2:] // tf.constant(sizes))
    shares = tf.where(shape[0] * shape[1] < LEAST_PIXELS, 1, shares)
    return tf.gather(_AT_MOST, tf.minimum(shares, _AT_MOST[-1]))


def resized(image: Reduced, box: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """A rectangle of an image, brought to a size by bicubic interpolation, which overshoots.

    Its edges are where they are, and not where the nearest of the reduced pixels ends.

    Args:
        image: that holds the rectangle.
        box: int32 [4], (top, left, height, width) in pixels of the image before it was reduced.
        size: (height, width).

    Returns:
        float32 [*size, C], in the range of the pixels.
    """
    start, sides = box[:2] - image.corner, box[2:]
    first, end = start // image.ratio, -((start + sides) // -image.ratio)
    top, left = tf.unstack(first)
    height, width = tf.unstack(end - first)
    pixels = tf.slice(image.pixels, [top, left, 0], [height, width, image.pixels.shape[-1]])
    scale = tf.cast(size, tf.float32) * tf.cast(image.ratio / sides, tf.float32)
    offset = tf.cast(start / image.ratio, tf.float32) - tf.cast(first, tf.float32)
    # By tf.raw_ops, because tf.image.resize knows no fractions of a pixel.
    found = tf.raw_ops.ScaleAndTranslate(
        images=pixels[tf.newaxis],
        size=size,
        scale=scale,
        translation=-offset * scale,
        kernel_type="keyscubic",
        antialias=False,
    )
    return found[0]


def crop(image: Reduced, box: tf.Tensor, size: tuple[int, int] | None) -> tf.Tensor:
    """A rectangle of an image, which is still to be resized; of a reduced one it has the size.

    Args:
        image, box: as for `resized`.
        size: (height, width) that it is wanted in; None where the image is not reduced.

    Returns:
        [h, w, C], uint8 or float32 in 0..1 as the pixels.
    """

    def part():
        top, left = tf.unstack(box[:2] - image.corner)
        _, _, height, width = tf.unstack(box)
        return tf.slice(image.pixels, [top, left, 0], [height, width, image.pixels.shape[-1]])

    def finished(pixels, corner, ratio, box):
        white = 255.0 if pixels.dtype == tf.uint8 else 1.0
        view = tf.clip_by_value(resized(Reduced(pixels, corner, ratio), box, size), 0.0, white)
        return tf.cast(view + 0.5, tf.uint8) if white > 1 else view

    if size is None or tf.get_static_value(image.ratio) == 1:
        return part()
    return tf.cond(image.ratio > 1, lambda: called(finished, *image, box), part)
