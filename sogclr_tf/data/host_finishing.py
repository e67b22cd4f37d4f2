"""What the host does to views after resizing them: a program of XLA, one image after another.

Of an image only those operations run that it drew, in a loop over one buffer: where an operation is
left out, XLA would copy what a condition around it passes on.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from sogclr_tf.data import changes, color, randomness
from sogclr_tf.data.policies import Policy

# When an operation is done that an image did not draw; the others are done between 0 and 4.
_NEVER = 9.0


@functools.cache
def compiled(policy: Policy, white: float, dtype: tf.DType) -> Callable:
    """The function (images, rows) -> views of `augment.finish`, which says what they are."""

    def finish_one(image, row):
        image = tf.clip_by_value(image, 0.0, white)
        if dtype == tf.uint8:
            # So that a device can be sent bytes, and goes on from the same numbers.
            image = tf.floor(image + 0.5)
        draw = {
            name: row[column] for name, column in (randomness.GEOMETRY | randomness.COLOR).items()
        }
        planes = _planes(image / white, draw["flip"] < policy.flip)
        # Rounding may have led just out of 0..1.
        planes = tf.clip_by_value(_colored(planes, draw, policy), 0.0, 1.0)
        if dtype == tf.uint8:
            return tf.transpose(tf.cast(planes * 255 + 0.5, dtype), [1, 2, 0])
        return tf.stack(tf.unstack(planes), axis=2)

    @tf.function(jit_compile=True, autograph=False)
    def finish_each(images, rows):
        return tf.map_fn(
            lambda pair: finish_one(*pair),
            (images, rows),
            fn_output_signature=tf.TensorSpec(images.shape[1:], dtype),
        )

    return finish_each


def _planes(image: tf.Tensor, flip: tf.Tensor) -> tf.Tensor:
    """An image [H, W, C] as planes [C, H, W], from left to right or from right to left."""

    def apart(image):
        # Not a transposition: XLA would leave the colors interleaved in memory, which is slower.
        return tf.stack(tf.unstack(image, axis=2))

    return tf.cond(flip, lambda: apart(tf.reverse(image, [1])), lambda: apart(image))


def _colored(planes: tf.Tensor, draw: dict[str, tf.Tensor], policy: Policy) -> tf.Tensor:
    """Planes after all operations on colors that an image drew."""
    operations, times = [], []
    if policy.jitter and policy.strength:
        operations += color.jittering(changes.jitter(draw, policy))
        times += tf.unstack(tf.where(draw["jitter"] < policy.jitter, draw["order"], _NEVER))
    others = {
        "grayscale": color.to_grayscale,
        "blur": lambda planes: color.blur(planes, changes.sigma(draw)),
        "solarize": color.solarize,
    }
    for time, (name, operation) in enumerate(others.items(), 1):
        probability = getattr(policy, name)
        if probability:
            operations.append(operation)
            times.append(tf.where(draw[name] < probability, float(time), _NEVER))
    if not operations:
        return planes
    times = tf.stack(times)
    order, count = _order(times), tf.reduce_sum(tf.cast(times < _NEVER, tf.int32))

    def step(place, planes):
        done = [functools.partial(operation, planes) for operation in operations]
        return place + 1, tf.switch_case(order[place], done)

    return tf.while_loop(lambda place, _: place < count, step, (0, planes))[1]


def _order(times: tf.Tensor) -> tf.Tensor:
    """What `tf.argsort` gives; XLA is slow to sort a handful of numbers."""
    places = tf.range(times.shape[0])
    earlier = (times < times[:, tf.newaxis]) | (
        (times == times[:, tf.newaxis]) & (places < places[:, tf.newaxis])
    )
    rank = tf.reduce_sum(tf.cast(earlier, tf.int32), axis=1)
    return tf.reduce_sum(tf.where(rank == places[:, tf.newaxis], places, 0), axis=1)
