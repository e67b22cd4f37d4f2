"""The averages of the weights that a Keras optimizer keeps (`use_ema`), read in their place.

What an encoder is used for after training it is used for with its averages: Keras puts them in the
place of the weights when `fit` ends. Here is what reads or places them before, and after a restore.
Statistics of batch normalization are no weights; they are averages of their own, and stay.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf


def averages_weights(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether Keras ends training with averages of the weights in their place (`use_ema`)."""
    return bool(_averaging(optimizer))


@contextlib.contextmanager
def averages_in_place(model: keras.Model) -> Iterator[None]:
    """Within it `model` has averages in the place of its weights; behind it, bit for bit, weights.

    Nothing changes where its optimizer keeps no averages or has made no step, or where a
    `ContrastiveModel` knows them to be in place: by `keras.callbacks.SwapEMAWeights` in the fit at
    hand, or by the end of one. Called between steps, outside of graphs; under a `tf.distribute`
    strategy on each process by itself.
    """
    pairs = [] if _in_place(model) else _pairs(getattr(model, "optimizer", None))
    # Tensors on the device. They share memory with a variable until it is assigned to.
    kept = [tf.identity(weight.value) for weight, _ in pairs]
    try:
        for weight, average in pairs:
            weight.assign(average)
        yield
    finally:
        for (weight, _), value in zip(pairs, kept, strict=True):
            weight.assign(value)


def put_in_place(model: keras.Model) -> None:
    """Gives `model` for good the averages in the place of its weights, as the end of `fit` does.

    After it a checkpoint by hand would hold no weights, as is remembered in `averaged_step`.
    Nothing changes where its optimizer keeps no averages or has made no step.
    """
    pairs = _pairs(model.optimizer)
    for weight, average in pairs:
        weight.assign(average)
    if pairs:
        model.averaged_step = model.trained_steps


def restart_averages(model: keras.Model) -> None:
    """Lets the averages that a model's optimizer keeps begin anew at the weights as they are."""
    for weight, average in _pairs(model.optimizer):
        average.assign(weight)


def reading_averages(optimizer: keras.optimizers.Optimizer) -> contextlib.AbstractContextManager:
    """Within it what is called reads averages for weights. No variable can be assigned to.

    For a graph of a training step, after the optimizer's own: on several replicas each reads its
    own. An optimizer that keeps none changes nothing.
    """
    values = []
    for part in _averaging(optimizer):
        # An overflow of float16 passes over steps: the averages are 0 before the first one.
        late = hasattr(optimizer, "inner_optimizer")
        for weight, average in _kept(part):
            value = tf.convert_to_tensor(average.value)
            if late:
                value = tf.where(part.iterations > 0, value, tf.convert_to_tensor(weight.value))
            values.append((weight, value))
    return keras.StatelessScope(values) if values else contextlib.nullcontext()


def _in_place(model):
    if getattr(model, "averages_are_swapped_in", bool)():
        return True
    ended = getattr(model, "averaged_step", None)
    return ended is not None and ended == model.trained_steps


def _averaging(optimizer: Any) -> list[Any]:
    """The optimizers that keep averages, inside one or itself."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    parts = getattr(inner, "optimizers", [inner])
    return [part for part in parts if getattr(part, "use_ema", False)]


def _pairs(optimizer: Any) -> list[tuple[keras.Variable, keras.Variable]]:
    """[(weight, its average)], none before the first step, at which Keras lets them begin."""
    return [
        pair
        for part in _averaging(optimizer)
        if int(keras.ops.convert_to_numpy(part.iterations)) > 0
        for pair in _kept(part)
    ]


def _kept(part):
    if not part.built:
        return []
    pairs = zip(part._trainable_variables, part._model_variables_moving_average, strict=True)
    return [(weight, average) for weight, average in pairs if average is not None]
