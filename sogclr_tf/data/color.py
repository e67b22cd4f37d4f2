"""Changes of one image's colors, as XLA compiles them: of planes float32 [C, H, W] in 0..1.

The planes lie apart because XLA is slower with interleaved colors.
"""

import functools

import numpy as np
import tensorflow as tf

from sogclr_tf.data.policies import Policy


def jitter(planes: tf.Tensor, draw: dict[str, tf.Tensor], policy: Policy) -> tf.Tensor:
    """Brightness, contrast, saturation and hue of one image, in the order that it drew.

    Of planes that are not 3 the latter two stay as they are.
    """
    reaches = {"brightness": 0.8, "contrast": 0.8, "saturation": policy.saturation}
    factor = {
        name: tf.maximum(1 + reach * policy.strength * (2 * draw[name] - 1), 0.0)
        for name, reach in reaches.items()
    }
    turn = policy.hue * policy.strength * (2 * draw["hue"] - 1)
    colored = planes.shape[0] == 3
    order = tf.argsort(draw["order"])

    def change(position, planes):
        changed = tf.switch_case(
            order[position],
            [
                lambda: planes * factor["brightness"],
                lambda: _contrast(planes, factor["contrast"]),
                lambda: _saturation(planes, factor["saturation"]) if colored else planes,
                lambda: _hue(planes, turn) if colored else planes,
            ],
        )
        return position + 1, tf.clip_by_value(changed, 0.0, 1.0)

    return tf.while_loop(lambda position, _: position < 4, change, (0, planes))[1]


def _contrast(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    mean = tf.reduce_mean(planes, axis=[1, 2], keepdims=True)
    return mean + (planes - mean) * factor


def _saturation(planes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Scales the saturation of HSV, to 1 at most: moves all but the greatest away from it."""
    value, chroma = _value_and_chroma(planes)
    return value - (value - planes) * tf.minimum(factor, tf.math.divide_no_nan(value, chroma))


def _hue(planes: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """Turns the hue of HSV by a share of the circle."""
    value, chroma = _value_and_chroma(planes)
    red, green, blue = tf.unstack(planes)
    hue = tf.where(
        red >= value,
        green - blue,
        tf.where(green >= value, 2 * chroma + blue - red, 4 * chroma + red - green),
    )
    hue = turn + tf.math.divide_no_nan(hue, 6 * chroma)
    # A color is full within a sixth of the circle from its own hue, and gone a third away from it.
    away = hue - tf.reshape([0.0, 1 / 3, 2 / 3], [3, 1, 1])
    away = tf.abs(away - tf.round(away))
    return value - chroma * tf.clip_by_value(6 * away - 1, 0.0, 1.0)


def _value_and_chroma(planes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    value = tf.reduce_max(planes, axis=0)
    return value, value - tf.reduce_min(planes, axis=0)


def to_grayscale(planes: tf.Tensor) -> tf.Tensor:
    luma = tf.tensordot(tf.constant([0.2989, 0.587, 0.114]), planes, 1)
    return tf.broadcast_to(luma, planes.shape)


def solarize(planes: tf.Tensor) -> tf.Tensor:
    return tf.where(planes < 0.5, planes, 1 - planes)


def blur(planes: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Gaussian blur over a tenth of the shorter side, borders mirrored."""
    radius = max(1, min(planes.shape[1:]) // 20)
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
