"""Every private part of Keras that this package relies on, seen in Keras 3.15.1.

`tests/models/test_keras_hooks.py` says what each must do, and fails where a new Keras changes it.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras.src.trainers.data_adapters.data_adapter import DataAdapter


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


class LateData(DataAdapter):
    """Batches without end of which the first is decided when Keras asks for it.

    That is after `on_train_begin` of all callbacks, some of which restore a model.

    Args:
        begin: function without arguments that gives the iterator, which the step must accept.
    """

    num_batches = batch_size = has_partial_batch = partial_batch_size = None

    def __init__(self, begin: Callable[[], Any]) -> None:
        self._begin = begin

    def get_tf_dataset(self) -> tf.distribute.DistributedDataset:
        return _Late(self._begin)


class _Late(tf.distribute.DistributedDataset):
    """Distributed already, to Keras, so that it takes the iterator as it comes."""

    def __init__(self, begin):
        self._begin = begin

    def __iter__(self):
        return self._begin()


def backed_up_epoch(model: keras.Model) -> int | None:
    """The epoch from which `BackupAndRestore` has told Keras to go on in this fit, if it has."""
    return model._initial_epoch


def forget_backed_up_epoch(model: keras.Model) -> None:
    """Keras never does, and would begin every later fit of the model there."""
    model._initial_epoch = None


def accumulated_batches(optimizer: keras.optimizers.Optimizer) -> tuple[int, int]:
    """(batches whose gradients wait for the next update, batches that make one); (0, 1) of most."""
    # The one that scales losses in float16 holds the one that steps.
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    batches = getattr(optimizer, "gradient_accumulation_steps", None) or 1
    # `iterations` counts updates.
    calls = int(keras.ops.convert_to_numpy(optimizer._iterations)) if batches > 1 else 0
    return calls % batches, batches


@contextlib.contextmanager
def one_replica(layer: keras.layers.Layer) -> Iterator[None]:
    """Batch statistics without the sum over replicas, whose gradient a SavedModel cannot hold."""
    synchronized = [part for part in layers_below(layer) if getattr(part, "synchronized", False)]
    for part in synchronized:
        part.synchronized = False
    try:
        yield
    finally:
        for part in synchronized:
            part.synchronized = True


def layers_below(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """A layer and all layers that it is made of, those of nested models in their place."""
    found, waiting = {}, [layer]
    while waiting:
        part = waiting.pop()
        if id(part) not in found and hasattr(part, "_flatten_layers"):
            found[id(part)] = part
            waiting.extend(reversed(part._flatten_layers(include_self=False, recursive=False)))
    return list(found.values())


class GraphCall(NamedTuple):
    """One call in a functional model.

    Attributes:
        operation: the Keras layer or operation that is called.
        inputs, outputs: the keys of the tensors that it takes and gives.
        arguments: all that it is called with.
    """

    operation: Any
    inputs: list[int]
    outputs: list[int]
    arguments: Any

    def run(self, values: dict[int, tf.Tensor]) -> dict[int, tf.Tensor]:
        """{key: tensor} of its outputs in inference mode, of the values of its inputs."""
        args, kwargs = self.arguments.fill_in(values)
        if isinstance(self.operation, keras.layers.Layer):
            kwargs = {**kwargs, "training": False}
        outputs = keras.tree.flatten(self.operation(*args, **kwargs))
        return dict(zip(self.outputs, outputs, strict=True))


def is_graph(model: keras.layers.Layer) -> bool:
    """Whether it is a functional model, of which every call is known."""
    return hasattr(model, "_nodes_by_depth")


def graph_calls(model: keras.Model) -> list[GraphCall]:
    """The calls of a functional model, each after those whose outputs it takes.

    The key of a tensor is its id, those of the model's `inputs` too.
    """
    by_depth = model._nodes_by_depth
    return [
        GraphCall(
            node.operation,
            [id(tensor) for tensor in node.input_tensors],
            [id(tensor) for tensor in node.outputs],
            node.arguments,
        )
        for depth in sorted(by_depth, reverse=True)
        for node in by_depth[depth]
        if not node.is_input
    ]
