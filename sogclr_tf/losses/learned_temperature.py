"""How a temperature is learned: one weight of the optimizer's, or one for every example."""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from sogclr_tf.losses.similarities import Similarities


def check_scheme(scheme: str, valid: Sequence[str]) -> None:
    """Raises ValueError unless `scheme` is one of `valid`."""
    if scheme not in valid:
        raise ValueError(f"unknown temperature_scheme '{scheme}': choose one of {', '.join(valid)}")


def check_bounds(temperature: float, lowest: float, highest: float) -> None:
    """Raises ValueError unless 0 < lowest <= temperature <= highest."""
    if not 0 < lowest <= temperature <= highest:
        raise ValueError(
            f"temperature is {temperature}: it must lie between min_temperature {lowest}, above 0, "
            f"and max_temperature {highest}"
        )


def check_descent(rho: float, eta: float, beta: float) -> None:
    """Raises ValueError where what moves the temperatures of examples is out of range."""
    if not rho >= 0:
        raise ValueError(f"rho is {rho}: it must be >= 0, commonly 0.1 to 0.5, of texts 2 to 9")
    if not eta >= 0:
        raise ValueError(f"eta is {eta}: it must be >= 0, commonly 0.01")
    if not 0 < beta <= 1:
        raise ValueError(f"beta is {beta}: it must lie in (0, 1], commonly 0.9")


def add_log_temperature(
    layer: keras.layers.Layer,
    initial: float,
    lowest: float,
    highest: float,
    trainable: bool = True,
) -> keras.Variable:
    """Gives `layer` the log of a temperature as a weight, float32 [].

    The log, as in CLIP: the temperature stays above 0, and a step of the optimizer is a share of it
    whether it is 0.01 or 1. Keras's optimizers keep it in its bounds after every step, if it is
    `trainable`; else the layer moves it.
    """
    return layer.add_weight(
        name="log_temperature",
        shape=(),
        dtype="float32",
        initializer=keras.initializers.Constant(math.log(initial)),
        constraint=LogBounds(lowest, highest) if trainable else None,
        trainable=trainable,
        autocast=False,
    )


@keras.saving.register_keras_serializable(package="sogclr_tf")
class LogBounds(keras.constraints.Constraint):
    """Keeps the exponential of a weight in [lowest, highest], both > 0."""

    def __init__(self, lowest: float, highest: float) -> None:
        self.lowest = lowest
        self.highest = highest

    def __call__(self, value: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(value, math.log(self.lowest), math.log(self.highest))

    def get_config(self) -> dict[str, float]:
        return {"lowest": self.lowest, "highest": self.highest}


def slopes(
    compared: Similarities,
    temperature: float | tf.Tensor,
    log_g: tf.Tensor,
    log_u: tf.Tensor,
    rho: float,
) -> tf.Tensor:
    """d = log u + rho - (g / u) * mean over the negatives of s/t, weighted by exp(s/t).

    With u = g it is the derivative by t of t * (log g + rho).

    Args:
        compared: `similarities.Similarities`, whose entries of `negative` are the s.
        temperature: t, float32, a scalar or [2b].
        log_g: float32 [2b].
        log_u: float32 [2b].
        rho: float.

    Returns:
        float32 [2b], without a gradient.
    """
    return tf.stop_gradient(log_u + rho - _expected(compared, temperature, log_g, log_u))


def unscaled_slopes(
    compared: Similarities, temperature: float | tf.Tensor, log_g: tf.Tensor, log_u: tf.Tensor
) -> tf.Tensor:
    """-(g / u) * mean over the negatives of s/t^2, weighted by exp(s/t): float32 [2b].

    With u = g it is the derivative by t of log g. Arguments and gradient are as of `slopes`.
    """
    return tf.stop_gradient(-_expected(compared, temperature, log_g, log_u) / temperature)


def _expected(compared, temperature, log_g, log_u):
    return tf.exp(log_g - log_u) * compared.expected_logit(temperature)
