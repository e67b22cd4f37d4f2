"""Every private part of Keras that this package relies on, seen in Keras 3.15.1.

`tests/models/test_keras_hooks.py` says what each must do, and fails where a new Keras changes it.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras


class BuildsItself(keras.Model):
    """A model whose weights all exist before `fit`: Keras's trial call is left out.

    Keras 3.15 calls a model on its first batch, as if that were the argument of `call`, to build
    it; under `MultiWorkerMirroredStrategy` the call fails on dictionaries (keras issue 20585). The
    optimizer's variables, which it would make as well, must exist outside the replicas' step.
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):  # noqa: ARG002
        if self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)


def is_validation(kwargs: dict[str, Any]) -> bool:
    """Whether Keras's `fit` itself calls `evaluate` with these arguments, on validation data."""
    return kwargs.get("_use_cached_eval_dataset", False)


@contextlib.contextmanager
def passing_over(model: keras.Model, taken: int) -> Iterator[None]:
    """Lets Keras's first epoch count `taken` steps that a restored model has behind it.

    Keras begins every epoch at its first step, with the running means at zero. The model's
    `train_function` is replaced for so long as it would take those steps again; the means are as
    restored.
    """
    if not taken:
        yield
        return
    model.make_train_function()
    train_function = model.train_function
    variables = model.metrics_variables
    means = [keras.ops.convert_to_numpy(variable) for variable in variables]
    passed = 0

    def pass_over(_iterator):
        nonlocal passed
        if not passed:
            for variable, mean in zip(variables, means, strict=True):
                variable.assign(mean)
        passed += model.steps_per_execution
        if passed >= taken:
            model.train_function = train_function
        return {}

    model.train_function = pass_over
    try:
        yield
    finally:
        model.train_function = train_function


@contextlib.contextmanager
def one_replica(layer: keras.layers.Layer) -> Iterator[None]:
    """Batch statistics without the sum over replicas, whose gradient a SavedModel cannot hold."""
    parts = layer._flatten_layers() if hasattr(layer, "_flatten_layers") else [layer]
    synchronized = [part for part in parts if getattr(part, "synchronized", False)]
    for part in synchronized:
        part.synchronized = False
    try:
        yield
    finally:
        for part in synchronized:
            part.synchronized = True
