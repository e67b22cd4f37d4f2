"""Averages of the weights, read and put in the place of the weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import small_model
from support.numerics import assert_close

from sogclr_tf.training import averaged_weights
from sogclr_tf.training.optimizers import build_optimizer, optimizer_names

RATE = 0.1
LossScaled = keras.optimizers.LossScaleOptimizer


def several():
    """One optimizer that keeps averages, of all weights but biases, and one that keeps none."""
    kinds = {"kernel": build_optimizer("lars", RATE, ema=0.5), "bias": keras.optimizers.SGD(RATE)}
    return keras.optimizers.MultiOptimizer(lambda weight: kinds[weight.name])


OPTIMIZERS = {
    **{name: lambda name=name: build_optimizer(name, RATE, ema=0.5) for name in optimizer_names()},
    "loss scaled": lambda: LossScaled(build_optimizer("lars", RATE, ema=0.5)),
    "several": several,
}
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def trained(optimizer, steps=3, gradient=1.0):
    """A model of one layer after some steps."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(optimizer)
    for _ in range(steps):
        weights = model.trainable_variables
        optimizer.apply([tf.fill(weight.shape, gradient) for weight in weights], weights)
    return model


def values(variables):
    return [np.asarray(variable).copy() for variable in variables]


def averages(model):
    """What the model's weights are to be, by what Keras itself ends a training with."""
    before = values(model.trainable_variables)
    model.optimizer.finalize_variable_values(model.trainable_variables)
    found = values(model.trainable_variables)
    for weight, value in zip(model.trainable_variables, before, strict=True):
        weight.assign(value)
    return found


def assert_same(ones, others):
    for one, other in zip(ones, others, strict=True):
        np.testing.assert_array_equal(one, other)


def differ(ones, others):
    return any(not np.array_equal(one, other) for one, other in zip(ones, others, strict=True))


@every_optimizer
def test_averages_are_in_place_and_weights_come_back(name):
    model = trained(OPTIMIZERS[name]())
    weights, kept, state = (
        values(model.trainable_variables),
        averages(model),
        values(model.optimizer.variables),
    )
    assert differ(weights, kept)
    with averaged_weights.averages_in_place(model):
        assert_same(values(model.trainable_variables), kept)
    assert_same(values(model.trainable_variables), weights)
    with pytest.raises(KeyError), averaged_weights.averages_in_place(model):
        raise KeyError
    assert_same(values(model.trainable_variables), weights)
    assert_same(values(model.optimizer.variables), state)


@every_optimizer
def test_they_are_read_in_a_graph_and_nothing_is_assigned(name):
    model = trained(OPTIMIZERS[name]())
    images, weights = tf.ones((4, 3)), values(model.trainable_variables)

    @tf.function
    def read():
        with averaged_weights.reading_averages(model.optimizer):
            return model(images)

    with averaged_weights.averages_in_place(model):
        want = tf.function(model)(images)
    np.testing.assert_array_equal(read(), want)
    assert not np.array_equal(model(images), want)
    assert_same(values(model.trainable_variables), weights)


def test_the_graph_follows_later_steps():
    model = trained(build_optimizer("sgd", RATE, ema=0.5))

    @tf.function
    def read():
        with averaged_weights.reading_averages(model.optimizer):
            return model(tf.ones((1, 3)))

    first, weights = read(), model.trainable_variables
    model.optimizer.apply([tf.ones(weight.shape) for weight in weights], weights)
    with averaged_weights.averages_in_place(model):
        np.testing.assert_array_equal(read(), tf.function(model)(tf.ones((1, 3))))
    assert not np.array_equal(read(), first)


def test_steps_that_overflowed_leave_nothing_to_average():
    """The averages are 0 then."""
    model = trained(LossScaled(build_optimizer("sgd", RATE, ema=0.5)), gradient=np.inf)
    weights = values(model.trainable_variables)
    with averaged_weights.reading_averages(model.optimizer):
        read = model(tf.ones((1, 3)))
    np.testing.assert_array_equal(read, model(tf.ones((1, 3))))
    with averaged_weights.averages_in_place(model):
        assert_same(values(model.trainable_variables), weights)
    averaged_weights.put_in_place(model)
    assert_same(values(model.trainable_variables), weights)


@pytest.mark.parametrize("optimizer", [None, "sgd"])
def test_without_averages_nothing_changes(optimizer):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    if optimizer:
        model = trained(build_optimizer("sgd", RATE))
    weights = values(model.trainable_variables)
    with averaged_weights.averages_in_place(model):
        assert_same(values(model.trainable_variables), weights)
    with averaged_weights.reading_averages(getattr(model, "optimizer", None)):
        np.testing.assert_array_equal(model(tf.ones((1, 3))), model(tf.ones((1, 3))))


def test_averages_begin_anew_at_the_weights():
    model = trained(build_optimizer("adam", RATE, ema=0.5))
    averaged_weights.restart_averages(model)
    assert_same(averages(model), values(model.trainable_variables))


def test_on_every_replica():
    devices = [device.name for device in tf.config.list_logical_devices("CPU")[:2]]
    # The default collectives are another strategy's of this process.
    strategy = tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice())
    with strategy.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile(build_optimizer("lars", RATE, ema=0.5))
        model.optimizer.build(model.trainable_variables)
    images = tf.ones((4, 3))

    @tf.function
    def step():
        weights = model.trainable_variables
        model.optimizer.apply([tf.ones(weight.shape) for weight in weights], weights)
        with averaged_weights.reading_averages(model.optimizer):
            return model(images)

    run = tf.function(lambda: strategy.run(step))
    read = [strategy.experimental_local_results(run()) for _ in range(3)][-1]

    def on_replicas():
        variables = [weight.value for weight in model.trainable_variables]
        return [
            values(on_each)
            for on_each in zip(*map(strategy.experimental_local_results, variables), strict=True)
        ]

    kept, weights = averages(model), on_replicas()
    with averaged_weights.averages_in_place(model):
        for on_one, features in zip(on_replicas(), read, strict=True):
            assert_same(on_one, kept)
            assert_close(features, model(images), terms=4)
    assert differ(weights[0], kept)
    for before, after in zip(weights, on_replicas(), strict=True):
        assert_same(before, after)


@pytest.mark.parametrize(
    "as_list",
    [pytest.param(True, marks=pytest.mark.slow(reason="training, operation by operation")), False],
)
def test_what_a_callback_has_swapped_in_is_not_swapped_again(as_list):
    """In a fit with a `CallbackList` the order is the caller's."""
    model = small_model.model()
    model.compile(build_optimizer("sgd", RATE, ema=0.5), run_eagerly=True)
    found = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
            before = values(self.model.trainable_variables)
            with averaged_weights.averages_in_place(self.model):
                found.append((before, values(self.model.trainable_variables)))

    callbacks = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True), Look()]
    if not as_list:
        callbacks = keras.callbacks.CallbackList(
            callbacks, add_history=True, model=model, epochs=2, steps=1
        )
    model.fit(small_model.views(), epochs=2, steps_per_epoch=1, callbacks=callbacks, verbose=0)
    # In a list the swap is called last, whatever its place.
    assert [differ(*pair) for pair in found] == [False, as_list]
    assert differ(found[0][1], found[1][1])
    after = values(model.trainable_variables)
    with averaged_weights.averages_in_place(model):
        assert_same(values(model.trainable_variables), after)
