"""The steps of temperatures that a loss moves by itself, not by the model's optimizer.

The temperatures of single examples, whose rows of the tables a batch reads and writes; or one of
all, at a rate of its own.
"""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

OPTIMIZERS = ("adam",)
# Adam's constants as its paper has them (arXiv 1412.6980), as FastCLIP's code does for examples.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
# FastCLIP bounds the derivatives by examples' temperatures, and slows the temperature of all.
LARGEST_SLOPE = 5.0
SLOW_AT, SLOW_RATE = 0.03, 1 / 3
# What Adam keeps of the temperature of all between its steps.
STATE_OF_ALL = ("velocity", "square", "steps")


def check_optimizer(optimizer: str | None, scheme: str) -> None:
    """Raises ValueError unless temperatures of `scheme` can be moved by `optimizer`."""
    if optimizer is None:
        return
    if optimizer not in OPTIMIZERS:
        raise ValueError(
            f"unknown temperature_optimizer '{optimizer}': choose one of {', '.join(OPTIMIZERS)}, "
            "or None"
        )
    if scheme == "constant":
        raise ValueError(
            f"temperature_optimizer is '{optimizer}', but the temperature is constant: set "
            "temperature_scheme too"
        )


def descend(
    temperature: tf.Tensor,
    velocity: tf.Tensor,
    slope: tf.Tensor,
    *,
    eta: float,
    beta: float,
    bounds: tuple[float, float],
) -> tuple[tf.Tensor, tf.Tensor]:
    """One step of examples' temperatures: (temperature, velocity), float32 like the arguments."""
    velocity = (1 - beta) * velocity + beta * slope
    return tf.clip_by_value(temperature - eta * velocity, *bounds), velocity


def adam(
    value: tf.Tensor,
    state: Sequence[tf.Tensor],
    slope: tf.Tensor,
    *,
    eta: float | tf.Tensor,
    bounds: tuple[float, float],
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """One step of Adam, arXiv 1412.6980, algorithm 1.

        velocity <- 0.9 velocity + 0.1 slope
        square <- 0.999 square + 0.001 slope^2
        value <- value - eta * m / (sqrt(s) + 1e-8), clipped to the bounds,

    m and s being velocity / (1 - 0.9^k) and square / (1 - 0.999^k) at step k of this entry.

    Args:
        value: float32, what moves.
        state: (velocity, square, the steps of this entry so far), each float32 like it, 0 at first.
        slope: float32 like it, the derivative.
        eta: the size of a step.
        bounds: (lowest, highest) value.

    Returns:
        (value, state) after it.
    """
    velocity, square, steps = state
    steps += 1.0
    velocity = BETA_1 * velocity + (1 - BETA_1) * slope
    square = BETA_2 * square + (1 - BETA_2) * tf.square(slope)
    mean, mean_square = velocity / _share(BETA_1, steps), square / _share(BETA_2, steps)
    moved = value - eta * mean / (tf.sqrt(mean_square) + EPSILON)
    return tf.clip_by_value(moved, *bounds), [velocity, square, steps]


def adam_of_examples(
    temperature: tf.Tensor,
    state: Sequence[tf.Tensor],
    slope: tf.Tensor,
    *,
    eta: float,
    bounds: tuple[float, float],
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """As `adam`, of examples' temperatures, with their slopes in [-5, 5]: each float32 [b]."""
    slope = tf.clip_by_value(slope, -LARGEST_SLOPE, LARGEST_SLOPE)
    return adam(temperature, state, slope, eta=eta, bounds=bounds)


def add_state_of_all(layer: keras.layers.Layer, name: str) -> keras.Variable:
    """Gives `layer` one of `STATE_OF_ALL`, a weight of float32 [], so that it is saved."""
    return layer.add_weight(
        name=f"temperature_{name}",
        shape=(),
        dtype="float32",
        initializer="zeros",
        trainable=False,
        autocast=False,
    )


def step_of_all(
    log_temperature: keras.Variable,
    state: Sequence[keras.Variable],
    slope: tf.Tensor,
    *,
    eta: float,
    bounds: tuple[float, float],
) -> None:
    """One step of Adam of the temperature of all, every replica's own copy alike.

    At a temperature of 0.03 and below by a third of `eta`, as FastCLIP's third version has it
    (arXiv 2407.01445; `step_thresh` of its code).

    Args:
        log_temperature: float32 [], the log of the temperature, no trainable weight.
        state: those of `STATE_OF_ALL`, as made by `add_state_of_all`.
        slope: float32 [], the derivative by `log_temperature`, the same on all replicas.
        eta: the size of a step.
        bounds: (lowest, highest) log of the temperature.
    """
    before = tf.identity(log_temperature.value)
    is_slow = before <= math.log(SLOW_AT)
    rate = tf.where(is_slow, eta * SLOW_RATE, eta)
    kept = [tf.identity(weight.value) for weight in state]
    after, kept = adam(before, kept, slope, eta=rate, bounds=bounds)
    for weight, value in zip((log_temperature, *state), (after, *kept), strict=True):
        # Raw, for the reason that `table.write` has.
        tf.raw_ops.AssignVariableOp(resource=weight.value.handle, value=value)


def _share(beta: float, steps: tf.Tensor) -> tf.Tensor:
    """1 - beta^steps, exact where it is small."""
    return -tf.math.expm1(steps * math.log(beta))
