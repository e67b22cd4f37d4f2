"""LAMB, Adam whose step is scaled to the size of each layer's weights."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from sogclr_tf.training.lars import UNSCALED, check_names, norm, own_name


@keras.saving.register_keras_serializable(package="sogclr_tf")
class LAMB(keras.optimizers.Lamb):
    """Layer-wise adaptive moments (You et al., arXiv 1904.00962), with tensorflow-addons' numbers.

    For a weight w with gradient g and moments m and v, step t at learning rate η is

        m <- beta_1 * m + (1 - beta_1) * g
        v <- beta_2 * v + (1 - beta_2) * g²
        s  = m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon) + weight_decay * w
        w <- w - η * |w| / |s| * s              (w - η * s if either norm is 0)

    The decay is part of the step whose norm divides. `keras.optimizers.Lamb`, whose moments these
    are, takes it off the weight beside the step, scaled by no norm, and scales the steps of biases
    and normalizations too. Norms and steps are computed in float32 whatever the weights' dtype.

    Args:
        learning_rate: float, `LearningRateSchedule`, or callable without arguments.
        beta_1, beta_2: floats in [0, 1), what the moments keep of themselves.
        epsilon: float > 0.
        weight_decay: float >= 0.
        exclude: names of weights that do not decay, compared as a whole with the weight's own name
            (`variable.name`), not with its path. The default keeps out biases, normalizations and
            the temperature that a loss learns.
        exclude_from_adaptation: names of weights whose step is taken as it is, in the same way;
            None for those of `exclude`.
        name: the optimizer's name.
        **base_options: further arguments of `keras.optimizers.Optimizer`, such as `clipnorm`,
            `use_ema` and `gradient_accumulation_steps`.

    Raises:
        ValueError: for a beta outside [0, 1), an epsilon that is not positive, a negative decay, or
            names that are one string instead of several.

    Examples:
        >>> import keras
        >>> import sogclr_tf
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> model.compile(sogclr_tf.LAMB(1e-3, weight_decay=1e-6), loss="mse")
        >>> sorted(model.optimizer.get_config()["exclude"])
        ['beta', 'bias', 'gamma', 'log_temperature']
    """

    def __init__(
        self,
        learning_rate: float | Callable | keras.optimizers.schedules.LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        weight_decay: float = 0.0,
        exclude: Sequence[str] = UNSCALED,
        exclude_from_adaptation: Sequence[str] | None = None,
        name: str | None = None,
        **base_options: Any,
    ) -> None:
        # The base class would decay beside the step if it were told of the decay.
        super().__init__(learning_rate, beta_1, beta_2, epsilon, name=name, **base_options)
        for what, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= beta < 1:
                raise ValueError(f"{what} is {beta!r}; give a number in [0, 1).")
        if not epsilon > 0:
            raise ValueError(f"epsilon is {epsilon!r}; give a number > 0.")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay is {weight_decay!r}; give a number >= 0.")
        self.decay_in_step = weight_decay
        self.exclude = check_names("exclude", exclude)
        self.exclude_from_adaptation = (
            self.exclude
            if exclude_from_adaptation is None
            else check_names("exclude_from_adaptation", exclude_from_adaptation)
        )

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes two moments, zero at first, for each of `variables`, a list of weights."""
        if self.built:
            return
        super().build(variables)
        # Replicas of a weight carry other names, so names are read here, once.
        names = [own_name(variable) for variable in variables]
        self._decays = [name not in self.exclude for name in names]
        self._adapts = [name not in self.exclude_from_adaptation for name in names]

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Updates `variable` and its moments from `gradient` (same shape), as stated above."""
        index = self._get_variable_index(variable)
        weight = ops.cast(variable, "float32")
        # The gradient of an embedding is sparse, but moments, decay and norms take in every row.
        gradient = ops.cast(tf.convert_to_tensor(gradient), "float32")
        mean = self._averaged(self._momentums[index], gradient, self.beta_1)
        square = self._averaged(self._velocities[index], ops.square(gradient), self.beta_2)
        step = mean / (ops.sqrt(square) + self.epsilon)
        if self._decays[index]:
            step = step + self.decay_in_step * weight
        rate = ops.cast(learning_rate, "float32")
        if self._adapts[index]:
            rate = rate * _trust_ratio(weight, step)
        self.assign(variable, weight - rate * step)

    def _averaged(self, moment: keras.Variable, value: tf.Tensor, keep: float) -> tf.Tensor:
        """Takes `value` in; returns the average freed of the zero that it began with, float32."""
        # As float32, so that both differences from 1 are rounded alike and cancel at first.
        share = ops.cast(keep, "float32")
        average = share * ops.cast(moment, "float32") + (1 - share) * value
        self.assign(moment, average)
        return average / (1 - ops.power(share, ops.cast(self.iterations + 1, "float32")))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal optimizer, as a serializable dict."""
        return {
            **super().get_config(),
            "weight_decay": self.decay_in_step,
            "exclude": list(self.exclude),
            "exclude_from_adaptation": list(self.exclude_from_adaptation),
        }


def _trust_ratio(weight: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    weight_norm, step_norm = norm(weight), norm(step)
    both_positive = ops.logical_and(weight_norm > 0, step_norm > 0)
    return ops.where(both_positive, ops.divide_no_nan(weight_norm, step_norm), 1.0)
