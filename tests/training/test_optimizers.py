import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close, close

import sogclr_tf
from sogclr_tf.training.optimizers import build_optimizer, optimizer_names

DECAYING = ("lars", "sgd", "adamw", "lamb")


def network():
    """A network whose layer is called beta: only a weight's own name may exclude it."""
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, name="beta_dense"),
            keras.layers.BatchNormalization(name="bn"),
            keras.layers.GroupNormalization(2, name="gn"),
            keras.layers.LayerNormalization(name="ln"),
        ]
    )
    for weight in model.trainable_variables:
        weight.assign(keras.ops.ones(weight.shape))
    return model


def moved_by_zero_gradients(model, optimizer):
    """Names of the weights that change when every gradient is 0, that is, by decay alone."""
    weights = model.trainable_variables
    before = [weight.numpy() for weight in weights]
    optimizer.apply([keras.ops.zeros(weight.shape) for weight in weights], weights)
    return {
        weight.name
        for weight, old in zip(weights, before, strict=True)
        if not np.array_equal(weight.numpy(), old)
    }


def test_names():
    assert optimizer_names() == ("lars", "sgd", "adam", "adamw", "lamb")


@pytest.mark.parametrize("name", DECAYING)
def test_only_kernels_decay(name):
    assert moved_by_zero_gradients(network(), build_optimizer(name, 0.1, 0.5)) == {"kernel"}


@pytest.mark.parametrize("name", DECAYING)
def test_only_kernels_decay_on_two_replicas(name):
    devices = [device.name for device in tf.config.list_logical_devices("CPU")[:2]]
    if len(devices) < 2:
        pytest.skip("needs two logical CPU devices")
    # The default collectives number their messages anew in each strategy, so that two strategies in
    # one process read each other's.
    reduction = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(devices, reduction)
    with strategy.scope():
        model = network()
        optimizer = build_optimizer(name, 0.1, 0.5)
        optimizer.build(model.trainable_variables)

    @tf.function
    def step():
        weights = model.trainable_variables
        strategy.run(lambda: optimizer.apply([tf.zeros(w.shape) for w in weights], weights))

    before = [weight.numpy() for weight in model.trainable_variables]
    step()
    for weight, old in zip(model.trainable_variables, before, strict=True):
        for replica in strategy.experimental_local_results(weight.value):
            assert np.array_equal(replica.numpy(), old) == (weight.name != "kernel")


@pytest.mark.parametrize("name", optimizer_names())
def test_nothing_decays_unless_asked(name):
    assert moved_by_zero_gradients(network(), build_optimizer(name, 0.1)) == set()


@pytest.mark.parametrize("name", optimizer_names())
def test_a_learned_temperature_never_decays(name):
    loss = sogclr_tf.CLIPLoss(0.07)
    decay = 0.0 if name == "adam" else 0.5
    build_optimizer(name, 0.1, decay).apply([tf.constant(0.0)], loss.trainable_weights)
    assert float(loss.learned_temperature) == close(0.07, terms=4)


@pytest.mark.parametrize("name", optimizer_names())
def test_takes_an_int_or_a_schedule(name):
    assert float(build_optimizer(name, 1).learning_rate) == 1.0
    schedule = keras.optimizers.schedules.CosineDecay(0.25, 10)
    assert float(build_optimizer(name, schedule).learning_rate) == 0.25


def test_two_steps_of_sgd_by_hand():
    weight = keras.Variable([1.0], name="kernel")
    optimizer = build_optimizer("sgd", 0.5)
    for _ in range(2):
        optimizer.apply([tf.constant([1.0])], [weight])
    # 1 - 0.5, then the velocity is 0.9 * 0.5 + 0.5 = 0.95.
    assert_close(weight, [1 - 0.5 - 0.95], terms=4)


def averaged_in_a_loop(weights, ema):
    """The average of the weights after each update, which begins at the first."""
    average = weights[0]
    for weight in weights[1:]:
        average = ema * average + (1 - ema) * weight
    return average


@pytest.mark.parametrize("name", optimizer_names())
@pytest.mark.parametrize("parts", [1, 4])
def test_an_average_counts_updates(name, parts):
    weight = keras.Variable([1.0], name="kernel")
    optimizer = build_optimizer(name, 0.5, ema=0.75, gradient_accumulation_steps=parts)
    updates = []
    for call in range(3 * parts):
        optimizer.apply([tf.constant([0.5])], [weight])
        if (call + 1) % parts == 0:
            updates.append(float(weight[0]))
    assert len({1.0, *updates}) == 4
    # Weights move with the last part of an update, and the average in this part and those behind.
    for _ in range(parts - 1):
        optimizer._update_model_variables_moving_average([weight])
    (average,) = optimizer._model_variables_moving_average
    assert_close(average, [averaged_in_a_loop(updates, 0.75)], terms=3 * parts)


@pytest.mark.parametrize("name", optimizer_names())
def test_keeps_no_average_unless_asked(name):
    assert not build_optimizer(name, 0.1).use_ema
    assert build_optimizer(name, 0.1).gradient_accumulation_steps is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: build_optimizer("rmsprop", 0.1, 0.0),
            r"'rmsprop' is unknown; choose one of lars, sgd, adam, adamw, lamb\.",
        ),
        (lambda: build_optimizer("adam", 0.1, 1e-4), r"no weight_decay \(got 0\.0001\).* adamw"),
        (lambda: build_optimizer("sgd", 0.1, -1.0), r"weight_decay is -1\.0; give a number >= 0"),
        (lambda: build_optimizer("sgd", 0.1, ema=1.0), r"^ema is 1\.0; give a number in \[0, 1\)"),
        (lambda: build_optimizer("lars", 0.1, ema=-0.5), r"^ema is -0\.5; give .* 0 for no"),
        (lambda: build_optimizer("lars", 0.1, ema=float("nan")), r"^ema is nan; give a number"),
        (
            lambda: build_optimizer("sgd", 0.1, gradient_accumulation_steps=0),
            r"^gradient_accumulation_steps is 0; give a whole number >= 1\.",
        ),
        (
            lambda: build_optimizer("sgd", 0.1, gradient_accumulation_steps=1.5),
            r"^gradient_accumulation_steps is 1\.5; give a whole number >= 1\.",
        ),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
