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
    assert inner in outer._flatten_layers()
    with keras_hooks.one_replica(outer):
        assert not inner.synchronized
    assert inner.synchronized


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
