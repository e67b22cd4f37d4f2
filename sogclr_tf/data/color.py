"""Changes of colors, as XLA compiles them: of planes float32 [C, ..., H, W] in 0..1.

The planes lie apart because XLA is slower with interleaved colors. Of several images the numbers
that change them are [..., 1, 1].
"""

import functools

import numpy as np
import tensorflow as tf


def jitter(planes: tf.Tensor, change: dict[str, tf.Tensor]) -> tf.Tensor:
    """Brightness, contrast, saturation and hue of one image, in the order that it drew.

    Args:
        planes: float32 [C, H, W] in 0..1.
        change: as `changes.jitter` gives it for one image.
    """

    def changed(position, planes):
        done = tf.switch_case(
            change["order"][position],
            [lambda operation=operation: operation(planes, change) for operation in JITTER],
        )
        return position + 1, tf.clip_by_value(done, 0.0, 1.0)

    return tf.while_loop(lambda position, _: position < 4, changed, (0, planes))[1]


def _brightness(planes: tf.Tensor, change: dict[str, tf.Tensor]) -> tf.Tensor:
    return planes * change["brightness"]


def _contrast(planes: tf.Tensor, change: dict[str, tf.Tensor]) -> tf.Tensor:
    mean = tf.reduce_mean(planes, axis=[-2, -1], keepdims=True)
    return mean + (planes - mean) * change["contrast"]


def _saturation(planes: tf.Tensor, change: dict[str, tf.Tensor]) -> tf.Tensor:
    """Scales the saturation of HSV, to 1 at most: moves all but the greatest away from it."""
    if planes.shape[0] != 3:
        return planes
    value, chroma = _value_and_chroma(planes)
    most = tf.math.divide_no_nan(value, chroma)
    return value - (value - planes) * tf.minimum(change["saturation"], most)


def _hue(planes: tf.Tensor, change: dict[str, tf.Tensor]) -> tf.Tensor:
    """Turns the hue of HSV by a share of the circle."""
    if planes.shape[0] != 3:
        return planes
    value, chroma = _value_and_chroma(planes)
    red, green, blue = tf.unstack(planes)
    hue = tf.where(
        red >= value,
        green - blue,
        tf.where(green >= value, 2 * chroma + blue - red, 4 * chroma + red - green),
    )
    hue = change["hue"] + tf.math.divide_no_nan(hue, 6 * chroma)
    # A color is full within a sixth of the circle from its own hue, and gone a third away from it.
    away = hue - tf.reshape([0.0, 1 / 3, 2 / 3], [3] + [1] * hue.shape.rank)
    away = tf.abs(away - tf.round(away))
    return value - chroma * tf.clip_by_value(6 * away - 1, 0.0, 1.0)


# In the order of the numbers that stand for them.
JITTER = (_brightness, _contrast, _saturation, _hue)


def _value_and_chroma(planes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    value = tf.reduce_max(planes, axis=0)
    return value, value - tf.reduce_min(planes, axis=0)


def to_grayscale(planes: tf.Tensor) -> tf.Tensor:
    luma = tf.tensordot(tf.constant([0.2989, 0.587, 0.114]), planes, 1)
    return tf.broadcast_to(luma, planes.shape)


def solarize(planes: tf.Tensor) -> tf.Tensor:
    return tf.where(planes < 0.5, planes, 1 - planes)


def blur_radius(height: int, width: int) -> int:
    """Pixels to each side that a blur takes in: its window is a tenth of the shorter side."""
    return max(1, min(height, width) // 20)


def blur(planes: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Gaussian blur over a tenth of the shorter side, borders mirrored."""
    radius = blur_radius(*planes.shape[1:])
    offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
    weights = tf.exp(-tf.square(offsets / sigma) / 2)
    weights = tf.unstack(weights / tf.reduce_sum(weights))

    def with_border(planes, axis):
        mirrored = np.pad(np.arange(planes.shape[axis]), radius, mode="reflect")
        before, after = mirrored[:radius], mirrored[-radius:]
        border = [tf.gather(planes, places, axis=axis) for places in (before, after)]
        return tf.concat([border[0], planes, border[1]], axis)

    def mixed(bordered, axis):
        side = bordered.shape[axis] - 2 * radius
        shifted = (
            bordered[:, k : k + side] if axis == 1 else bordered[:, :, k : k + side]
            for k in range(2 * radius + 1)
        )
        return functools.reduce(tf.add, map(tf.multiply, weights, shifted))

    def smoothed(planes, axis):
        bordered = with_border(planes, axis)
        # XLA would weave the border into the sum, which is ten times slower, but for a condition
        # between them. This one always holds.
        return tf.cond(sigma > 0, lambda: mixed(bordered, axis), lambda: planes)

    return smoothed(smoothed(planes, axis=1), axis=2)
