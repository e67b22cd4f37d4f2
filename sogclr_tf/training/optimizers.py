"""Optimizers by name, with weight decay on kernels only."""

import keras

from sogclr_tf.training.lars import LARS

# A variable's own name at the end of its path; replicas and ":0" are suffixes of tf.distribute
# and tf.Variable. Keras reads it as a regular expression.
_UNDECAYED = r"(^|/)(bias|beta|gamma|log_temperature)(/replica_\d+)?(:\d+)?$"


def optimizer_names() -> tuple[str, ...]:
    """Returns the names that `build_optimizer` accepts, as a tuple of str."""
    return tuple(_OPTIMIZERS)


def build_optimizer(
    name: str,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    weight_decay: float = 0.0,
) -> keras.optimizers.Optimizer:
    """Returns the Keras optimizer called `name`, by which kernels alone decay.

    Biases, normalizations (gamma and beta of every kind) and a learned temperature never do.

    "lars" and "sgd" have momentum 0.9, without Nesterov; "adam", "adamw" and "lamb" have Keras's
    defaults. The decay of "lars" is coupled (added to the gradient, as in SimCLR); that of "sgd",
    "adamw" and "lamb" is decoupled (w <- w - learning_rate * weight_decay * w beside the step), so
    the same number means different things to them.

    Args:
        name: one of `optimizer_names()`.
        learning_rate: float, or a `keras.optimizers.schedules.LearningRateSchedule`.
        weight_decay: float >= 0.

    Raises:
        ValueError: for an unknown name, a negative decay, or a decay with "adam".
    """
    if name not in _OPTIMIZERS:
        raise ValueError(f"Optimizer {name!r} is unknown; choose one of {', '.join(_OPTIMIZERS)}.")
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay is {weight_decay!r}; give a number >= 0.")
    # Keras refuses an int, which is what a config that says 1 holds.
    learning_rate = float(learning_rate) if isinstance(learning_rate, int) else learning_rate
    return _OPTIMIZERS[name](learning_rate, weight_decay)


def averages_weights(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether Keras ends training with averages of the weights in their place (`use_ema`)."""
    return bool(getattr(getattr(optimizer, "inner_optimizer", optimizer), "use_ema", False))


def _sgd(learning_rate, weight_decay):
    return _decay_kernels_only(
        keras.optimizers.SGD(learning_rate, momentum=0.9, weight_decay=weight_decay or None)
    )


def _adam(learning_rate, weight_decay):
    if weight_decay:
        raise ValueError(f"adam takes no weight_decay (got {weight_decay!r}); choose adamw.")
    return keras.optimizers.Adam(learning_rate)


def _adamw(learning_rate, weight_decay):
    return _decay_kernels_only(keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay))


def _lamb(learning_rate, weight_decay):
    return _decay_kernels_only(
        keras.optimizers.Lamb(learning_rate, weight_decay=weight_decay or None)
    )


def _lars(learning_rate, weight_decay):
    return LARS(learning_rate, momentum=0.9, weight_decay=weight_decay)


def _decay_kernels_only(optimizer):
    optimizer.exclude_from_weight_decay(var_names=[_UNDECAYED])
    return optimizer


_OPTIMIZERS = {"lars": _lars, "sgd": _sgd, "adam": _adam, "adamw": _adamw, "lamb": _lamb}
