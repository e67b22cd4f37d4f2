"""Changes of colors, as XLA compiles them: of planes float32 [C, ..., H, W] in 0..1.

The planes lie apart because XLA is slower with interleaved colors. Of several images the numbers
that change them are [..., 1, 1].
"""

import functools
from collections.abc import Callable

import tensorflow as tf


def jittering(change: dict[str, tf.Tensor]) -> list[Callable]:
    """Brightness, contrast, saturation and hue, each a function of planes, which it cuts to 0..1.

    Of planes that are not 3 the latter two leave them as they are.

    Args:
        change: as `changes.jitter` gives it.
    """

    def clipped(operation):
        return lambda planes: tf.clip_by_value(operation(planes, change), 0.0, 1.0)

    return [clipped(operation) for operation in (_brightness, _contrast, _saturation, _hue)]


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


def _value_and_chroma(planes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    # One by one, as XLA makes a pass of its own of every reduction.
    value = functools.reduce(tf.maximum, tf.unstack(planes))
    return value, value - functools.reduce(tf.minimum, tf.unstack(planes))


def to_grayscale(planes: tf.Tensor) -> tf.Tensor:
    red, green, blue = tf.unstack(planes)
    luma = 0.2989 * red + 0.587 * green + 0.114 * blue
    return tf.broadcast_to(luma, planes.shape)


def solarize(planes: tf.Tensor) -> tf.Tensor:
    return tf.where(planes < 0.5, planes, 1 - planes)


def blur_radius(height: int, width: int) -> int:
    """Pixels to each side that a blur takes in: its window is a tenth of the shorter side."""
    return max(1, min(height, width) // 20)


def blur(planes: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Gaussian blur over a tenth of the shorter side, borders mirrored."""
    radius = blur_radius(*planes.shape[1:])
    weights = tf.exp(-tf.square(tf.range(radius + 1, dtype=tf.float32) / sigma) / 2)
    weights /= 2 * tf.reduce_sum(weights) - 1

    def mixed(bordered, axis):
        side = bordered.shape[axis] - 2 * radius

        def shifted(offset):
            places = slice(radius + offset, radius + offset + side)
            return bordered[:, places] if axis == 1 else bordered[..., places]

        pairs = (weights[k] * (shifted(-k) + shifted(k)) for k in range(radius, 0, -1))
        return functools.reduce(tf.add, pairs) + weights[0] * shifted(0)

    def smoothed(planes, axis):
        # Of a single pixel there is nothing but itself to mirror.
        mode = "REFLECT" if planes.shape[axis] > 1 else "SYMMETRIC"
        border = [[radius] * 2 if k == axis else [0, 0] for k in range(3)]
        bordered = tf.pad(planes, border, mode)
        # XLA would weave the border into the sum, which is ten times slower, but for a condition
        # between them. This one always holds.
        return tf.cond(sigma > 0, lambda: mixed(bordered, axis), lambda: planes)

    return smoothed(smoothed(planes, axis=1), axis=2)
