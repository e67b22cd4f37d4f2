"""Optimizers by name, with weight decay on kernels only."""

from typing import Any

import keras

from sogclr_tf.training.lamb import LAMB
from sogclr_tf.training.lars import LARS, UNSCALED

# A variable's own name at the end of its path; replicas and ":0" are suffixes of tf.distribute
# and tf.Variable. Keras reads it as a regular expression.
_UNDECAYED = rf"(^|/)({'|'.join(UNSCALED)})(/replica_\d+)?(:\d+)?$"


def optimizer_names() -> tuple[str, ...]:
    """Returns the names that `build_optimizer` accepts, as a tuple of str."""
    return tuple(_OPTIMIZERS)


def build_optimizer(
    name: str,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    weight_decay: float = 0.0,
    ema: float = 0.0,
    gradient_accumulation_steps: int = 1,
) -> keras.optimizers.Optimizer:
    """Returns the Keras optimizer called `name`, by which kernels alone decay.

    Biases, normalizations (gamma and beta of every kind) and a learned temperature never do.

    "lars" and "sgd" have momentum 0.9, without Nesterov; "adam" and "adamw" have Keras's defaults,
    "lamb" those of tensorflow-addons. The decay of "lars" is coupled (added to the gradient, as in
    SimCLR); that of "lamb" is added to Adam's step before its norm is taken; that of "sgd" and
    "adamw" is decoupled (w <- w - learning_rate * weight_decay * w beside the step). So the same
    number means different things to them.

    Args:
        name: one of `optimizer_names()`.
        learning_rate: float, or a `keras.optimizers.schedules.LearningRateSchedule`.
        weight_decay: float >= 0.
        ema: share that the average of the weights keeps of itself at each of their updates, float
            in [0, 1); 0 keeps no average. With one, the optimizer is Keras's with `use_ema=True`,
            which puts the averages in the place of the weights when `fit` ends.
        gradient_accumulation_steps: calls of the optimizer whose gradients are averaged for one
            update of the weights, int >= 1.

    Raises:
        ValueError: for an unknown name, a negative decay, a decay with "adam", or an `ema` or a
            number of steps out of range.
    """
    if name not in _OPTIMIZERS:
        raise ValueError(f"Optimizer {name!r} is unknown; choose one of {', '.join(_OPTIMIZERS)}.")
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay is {weight_decay!r}; give a number >= 0.")
    options = _options(ema, gradient_accumulation_steps)
    # Keras refuses an int, which is what a config that says 1 holds.
    learning_rate = float(learning_rate) if isinstance(learning_rate, int) else learning_rate
    return _OPTIMIZERS[name](learning_rate, weight_decay, options)


def _options(ema: float, steps: int) -> dict[str, Any]:
    """The arguments of every Keras optimizer that say so."""
    if not 0 <= ema < 1:
        raise ValueError(f"ema is {ema!r}; give a number in [0, 1), such as 0.999, or 0 for none.")
    if steps != int(steps) or steps < 1:
        raise ValueError(f"gradient_accumulation_steps is {steps!r}; give a whole number >= 1.")
    options: dict[str, Any] = {}
    if steps > 1:
        options["gradient_accumulation_steps"] = int(steps)
    if ema:
        # Keras averages at every call, those between two updates of the weights as well.
        options |= {"use_ema": True, "ema_momentum": float(ema) ** (1 / steps)}
    return options


def _sgd(learning_rate, weight_decay, options):
    return _decay_kernels_only(
        keras.optimizers.SGD(
            learning_rate, momentum=0.9, weight_decay=weight_decay or None, **options
        )
    )


def _adam(learning_rate, weight_decay, options):
    if weight_decay:
        raise ValueError(f"adam takes no weight_decay (got {weight_decay!r}); choose adamw.")
    return keras.optimizers.Adam(learning_rate, **options)


def _adamw(learning_rate, weight_decay, options):
    return _decay_kernels_only(
        keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay, **options)
    )


def _lamb(learning_rate, weight_decay, options):
    return LAMB(learning_rate, weight_decay=weight_decay, **options)


def _lars(learning_rate, weight_decay, options):
    return LARS(learning_rate, momentum=0.9, weight_decay=weight_decay, **options)


def _decay_kernels_only(optimizer):
    optimizer.exclude_from_weight_decay(var_names=[_UNDECAYED])
    return optimizer


_OPTIMIZERS = {"lars": _lars, "sgd": _sgd, "adam": _adam, "adamw": _adamw, "lamb": _lamb}
