"""The private parts of Keras that the package relies on: what each must do, in this Keras."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.backend.tensorflow import trainer
from support.small_model import model, views

from sogclr_tf.models import keras_hooks


def test_keras_still_calls_the_model_to_build_it():
    """If it no longer does, `BuildsItself` is needless."""
    fit = inspect.getsource(trainer.TensorFlowTrainer.fit)
    assert "self._maybe_symbolic_build(" in fit
    assert list(inspect.signature(keras.Model._maybe_symbolic_build).parameters) == [
        *("self", "iterator", "data_batch")
    ]


def test_a_model_that_builds_itself_is_not_called_on_its_first_batch():
    class Strict(keras_hooks.BuildsItself):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)
            self.dense.build((None, 2))
            self.built = True

        def call(self, inputs):  # noqa: ARG002
            raise AssertionError("called on a batch that is not what `call` takes")

        def train_step(self, data):
            return {"loss": tf.reduce_sum(data["x"])}

    built = Strict()
    built.compile("sgd")
    built.fit({"x": np.ones((4, 2), np.float32)}, verbose=0)
    assert built.optimizer.built


def test_fit_takes_its_steps_through_train_function():
    """`passing_over` replaces it for the steps that are behind."""
    built, calls = model(), []
    built.make_train_function()
    take_step = built.train_function

    def counted(iterator):
        calls.append(1)
        return take_step(iterator)

    built.train_function = counted
    built.fit(views(), verbose=0)
    assert len(calls) == views().steps_per_epoch
    assert built.train_function is counted


@pytest.mark.parametrize("taken", [0, 2])
def test_steps_that_are_behind_are_passed_over(taken):
    built, batches = model(), []
    seen = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batches.append(batch)  # noqa: ARG005
    )
    with keras_hooks.passing_over(built, taken):
        built.fit(views().epoch(0), steps_per_epoch=3, callbacks=[seen], verbose=0)
    assert batches == [0, 1, 2]
    assert built.trained_steps == 3 - taken


def test_flattened_layers_are_all_layers_below():
    inner = keras.layers.BatchNormalization(synchronized=True)
    outer = keras.Sequential([keras.Input((2,)), keras.Sequential([keras.Input((2,)), inner])])
    parts = [outer, outer.layers[0], inner]
    assert [part for part in keras_hooks.layers_below(outer) if part in parts] == parts
    with keras_hooks.one_replica(outer):
        assert not inner.synchronized
    assert inner.synchronized


def test_calls_of_a_functional_model_compute_it():
    images = keras.Input((2,))
    twice = keras.layers.Rescaling(2.0)
    model_ = keras.Model(images, twice(twice(images)) + 1.0)
    assert keras_hooks.is_graph(model_)
    assert not keras_hooks.is_graph(keras.Sequential([keras.Input((2,)), twice]))
    values = {id(model_.inputs[0]): tf.constant([[1.0, 2.0]])}
    for call in keras_hooks.graph_calls(model_):
        assert all(key in values for key in call.inputs)
        values.update(call.run(values))
    np.testing.assert_array_equal(values[id(model_.outputs[0])], [[5.0, 9.0]])


def test_calls_are_computed_in_inference_mode():
    images = keras.Input((4, 4, 3))
    augmented = keras.Model(images, keras.layers.RandomContrast(0.5)(images, training=True))
    call = keras_hooks.graph_calls(augmented)[-1]
    given = np.random.default_rng(0).random((2, 4, 4, 3), np.float32)
    (got,) = call.run({id(augmented.inputs[0]): given}).values()
    np.testing.assert_array_equal(got, given)


def test_validation_by_fit_is_told_from_a_call_of_evaluate():
    seen = []

    class Watched(keras.Sequential):
        def evaluate(self, *args, **kwargs):
            seen.append(keras_hooks.is_validation(kwargs))
            return super().evaluate(*args, **kwargs)

    built = Watched([keras.Input((2,)), keras.layers.Dense(1)])
    built.compile("sgd", "mse")
    x, y = np.zeros((4, 2)), np.zeros(4)
    built.fit(x, y, validation_data=(x, y), verbose=0)
    built.evaluate(x, y, verbose=0)
    assert seen == [True, False]


def test_late_data_begin_after_all_callbacks():
    """One of them may have restored the model by then."""
    events = []
    batches = tf.data.Dataset.from_tensors(np.ones((2, 2), np.float32)).map(lambda x: (x, x[:, 0]))

    def begin():
        events.append("begin")
        return iter(batches.repeat())

    note = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: events.append("callback"))  # noqa: ARG005
    built = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    built.compile("sgd", "mse")
    data = keras_hooks.LateData(begin)
    built.fit(data, steps_per_epoch=3, epochs=2, callbacks=[note], verbose=0)
    assert events == ["callback", "begin"]
    assert int(built.optimizer.iterations) == 6


def test_the_epoch_that_was_backed_up(tmp_path):
    """Keras keeps it on the model for every later fit."""
    built = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    built.compile("sgd", "mse")
    data = (np.ones((2, 2)), np.ones(2))
    assert keras_hooks.backed_up_epoch(built) is None
    backup = keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    for _ in range(2):
        built.fit(*data, epochs=2, callbacks=[backup], verbose=0)
    assert keras_hooks.backed_up_epoch(built) == 2
    assert built.fit(*data, epochs=3, verbose=0).epoch == [2]
    keras_hooks.forget_backed_up_epoch(built)
    assert built.fit(*data, epochs=2, verbose=0).epoch == [0, 1]
