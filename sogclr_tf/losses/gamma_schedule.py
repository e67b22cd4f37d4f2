"""The weight of the newest batch in a moving average: constant, or falling over training."""

import math

import keras
import tensorflow as tf


def check_gamma(gamma: float, decay_steps: int) -> None:
    """Raises ValueError unless gamma lies in (0, 1] and decay_steps is a whole number >= 0."""
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma is {gamma}: it must lie in (0, 1], commonly 0.1 to 0.99")
    if decay_steps != int(decay_steps) or decay_steps < 0:
        raise ValueError(
            f"gamma_decay_steps is {decay_steps}: it must be a whole number of steps, 0 for a "
            "constant gamma"
        )


def add_counter(layer: keras.layers.Layer) -> keras.Variable:
    """Gives `layer` a count of its training steps: a weight, int64 [], so that it is saved."""
    return layer.add_weight(
        name="steps",
        shape=(),
        dtype="int64",
        initializer="zeros",
        trainable=False,
        autocast=False,
    )


def count(counter: keras.Variable) -> tf.Tensor:
    """The steps before this one, int64 []; adds one to the counter.

    Every replica counts in its own copy, by a raw operation for the reason that `table.write` has.
    """
    steps = tf.identity(counter.value)
    tf.raw_ops.AssignAddVariableOp(resource=counter.value.handle, value=tf.ones([], tf.int64))
    return steps


def current(gamma: float, decay_steps: int, counter: keras.Variable | None) -> float | tf.Tensor:
    """gamma of this step, a float or a float32 scalar; counts the step where it falls.

    Args:
        gamma: in (0, 1], the last value.
        decay_steps: int >= 0; 0 keeps gamma constant.
        counter: as made by `add_counter`; None where gamma is constant.
    """
    return falling(gamma, decay_steps, count(counter)) if decay_steps else gamma


def falling(gamma: float, decay_steps: int, step: tf.Tensor) -> tf.Tensor:
    """gamma at a step: from 1 along a half cosine down to `gamma`, where it stays.

    For gamma=0.2, decay_steps=100:

        step       0     50   100   101
        gamma    1.0    0.6   0.2   0.2

    FastCLIP, arXiv 2407.01445, the cosine schedule of the inner learning rate. The paper lets it
    fall once an epoch, this once a step, so that it need not know what an epoch is.

    Args:
        gamma: in (0, 1], the last value.
        decay_steps: int >= 1.
        step: int, a scalar tensor >= 0.

    Returns:
        float32 scalar.
    """
    share = tf.minimum(tf.cast(step, tf.float32) / decay_steps, 1.0)
    return gamma + (1 - gamma) * (1 + tf.cos(math.pi * share)) / 2
