"""LARS, the optimizer that scales each layer's step to the size of its weights."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

# Names of weights whose norms say nothing about a sensible step: biases, batch normalization, and
# the temperature that a loss learns.
UNSCALED = ("bias", "beta", "gamma", "log_temperature")


@keras.saving.register_keras_serializable(package="sogclr_tf")
class LARS(keras.optimizers.Optimizer):
    """Layer-wise adaptive rate scaling (You et al., arXiv 1708.03888, equations 5 and 6).

    For a weight w with gradient g and velocity v, one step at learning rate η is

        g <- g + weight_decay * w
        r  = trust_coefficient * |w| / |g|      (1 if either norm is 0)
        v <- momentum * v + r * η * g
        w <- w - v                              (nesterov: w - (momentum * v + r * η * g))

    For an excluded weight the first line is skipped and r = 1. The trust ratio and the learning
    rate enter before the momentum, as in SimCLR's code ("classic momentum"), so a change of the
    learning rate acts on new gradients only. The paper adds the two norms
    |g| + weight_decay * |w| where this takes the norm of the sum, again as SimCLR does.

    Decay is coupled: unlike the decay of the Keras optimizers it goes through the trust ratio and
    the velocity. Norms and steps are computed in float32 whatever the weights' dtype.

    Args:
        learning_rate: float, `LearningRateSchedule`, or callable without arguments.
        momentum: float in [0, 1).
        weight_decay: float >= 0.
        trust_coefficient: float > 0; 0.001 is the value of the paper and of SimCLR.
        exclude: names of weights that get neither decay nor scaling, compared as a whole with
            the weight's own name (`variable.name`), not with its path. The default keeps out
            biases, batch normalization and the temperature that a loss learns, whose norms say
            nothing about a sensible step.
        nesterov: bool, whether to look ahead along the velocity.
        name: the optimizer's name.
        **base_options: further arguments of `keras.optimizers.Optimizer`, such as `clipnorm`,
            `global_clipnorm` and `gradient_accumulation_steps`.

    Raises:
        ValueError: for a momentum outside [0, 1), a negative decay, a trust coefficient that is
            not positive, or an `exclude` that is one string instead of several.

    Examples:
        >>> import keras
        >>> import sogclr_tf
        >>> optimizer = sogclr_tf.LARS(0.3 * 256 / 256, weight_decay=1e-6)  # SimCLR's, at batch 256
        >>> weight = keras.Variable([[3.0, 4.0]], name="kernel")
        >>> optimizer.apply([keras.ops.array([[1.0, 0.0]])], [weight])
        >>> bool(weight[0, 0] < 3)
        True
    """

    def __init__(
        self,
        learning_rate: float | Callable | keras.optimizers.schedules.LearningRateSchedule,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        exclude: Sequence[str] = UNSCALED,
        nesterov: bool = False,
        name: str | None = None,
        **base_options: Any,
    ) -> None:
        # The base class would apply a decoupled decay of its own if it were told of the decay.
        super().__init__(learning_rate=learning_rate, name=name, **base_options)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum!r}; give a number in [0, 1).")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay is {weight_decay!r}; give a number >= 0.")
        if not trust_coefficient > 0:
            raise ValueError(f"trust_coefficient is {trust_coefficient!r}; give a number > 0.")
        self.momentum = momentum
        self.coupled_weight_decay = weight_decay
        self.trust_coefficient = trust_coefficient
        self.exclude = check_names("exclude", exclude)
        self.nesterov = nesterov

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes a velocity, zero at first, for each of `variables`, a list of weights."""
        if self.built:
            return
        super().build(variables)
        self._velocities = self.add_optimizer_variables(variables, "velocity")
        # Replicas of a weight carry other names, so names are read here, once.
        self._excluded = [own_name(variable) in self.exclude for variable in variables]

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Updates `variable` and its velocity from `gradient` (same shape), as stated above."""
        index = self._get_variable_index(variable)
        weight = ops.cast(variable, "float32")
        # The gradient of an embedding is sparse, but decay and norm take in every row.
        gradient = ops.cast(tf.convert_to_tensor(gradient), "float32")
        step = ops.cast(learning_rate, "float32")
        if not self._excluded[index]:
            gradient = gradient + self.coupled_weight_decay * weight
            step = step * self._trust_ratio(weight, gradient)
        self._descend(variable, self._velocities[index], step * gradient)

    def _descend(self, variable: keras.Variable, velocity: keras.Variable, step: tf.Tensor) -> None:
        """The last two lines of the update; `step` is float32, r * η * g."""
        if variable.dtype == tf.float32:
            # All of it in one pass over the weights, where five would read and write them.
            tf.raw_ops.ResourceApplyMomentum(
                var=variable.handle,
                accum=velocity.value.handle,
                lr=1.0,
                grad=step,
                momentum=self.momentum,
                use_nesterov=self.nesterov,
            )
            return
        update = new_velocity = self.momentum * ops.cast(velocity, "float32") + step
        if self.nesterov:
            update = self.momentum * new_velocity + step
        self.assign(velocity, new_velocity)
        self.assign(variable, ops.cast(variable, "float32") - update)

    def _trust_ratio(self, weight: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        weight_norm, gradient_norm = norm(weight), norm(gradient)
        both_positive = ops.logical_and(weight_norm > 0, gradient_norm > 0)
        return ops.where(
            both_positive,
            self.trust_coefficient * ops.divide_no_nan(weight_norm, gradient_norm),
            1.0,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal optimizer, as a serializable dict."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "weight_decay": self.coupled_weight_decay,
            "trust_coefficient": self.trust_coefficient,
            "exclude": list(self.exclude),
            "nesterov": self.nesterov,
        }


def check_names(argument: str, names: Sequence[str]) -> tuple[str, ...]:
    """Returns the names as a tuple; raises ValueError where they are one string."""
    if isinstance(names, str):
        raise ValueError(f"{argument} is {names!r}; give a sequence of names: ({names!r},).")
    return tuple(names)


def norm(values: tf.Tensor) -> tf.Tensor:
    """The Euclidean norm of all of `values`, a scalar of their dtype."""
    # l2_loss is half the sum of the squares, of which it keeps none.
    return ops.sqrt(2.0 * tf.nn.l2_loss(values))


def own_name(variable: keras.Variable) -> str:
    """The name of a weight without those of the layers around it."""
    # A plain tf.Variable is called "layer/kernel:0", a Keras one "kernel".
    return variable.name.split("/")[-1].split(":")[0]
