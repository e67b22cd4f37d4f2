"""Gradients of several batches that make one update of the weights."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_all_close, assert_close
from support.reference import GlobalContrastive
from support.small_model import BATCH, RATE, N, encoder, probed_model

import sogclr_tf
from sogclr_tf.models import keras_hooks
from sogclr_tf.training.optimizers import build_optimizer, optimizer_names
from sogclr_tf.training.schedules import warmup_cosine

PARTS = N // BATCH


@pytest.fixture(scope="module")
def data():
    """Every example once, in batches that make one update together."""
    view_a, view_b = np.random.default_rng(0).random((2, N, 8, 8, 3), np.float32)
    elements = {"view_a": view_a, "view_b": view_b, "index": np.arange(N, dtype=np.int32)}
    elements["label"] = np.arange(N, dtype=np.int32) % 3
    return tf.data.Dataset.from_tensor_slices(elements).batch(BATCH, drop_remainder=True)


@pytest.fixture(scope="module")
def trained():
    """One model for all tests of the module, whose step is traced once."""
    built = probed_model()
    built.compile(keras.optimizers.SGD(RATE, gradient_accumulation_steps=PARTS))
    built.optimizer.build(built.trainable_variables)
    variables = [*built.variables, *built.optimizer.variables]
    return built, variables, [np.asarray(variable) for variable in variables]


@pytest.fixture
def built(trained):
    """The model as when it was new."""
    built, variables, values = trained
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return built


def by_hand(batches):
    """(model, log u in loop form, mean gradients) of parts that one set of weights has seen."""
    still, reference, gradients = probed_model(), GlobalContrastive(N, 0.5, 0.9), []
    for batch in batches:
        with tf.GradientTape() as tape:
            both = tf.concat([batch["view_a"], batch["view_b"]], axis=0)
            a, b = tf.split(still.project(both, training=True), 2)
            loss = still.contrastive_loss(a, b, batch["index"])
        reference.step(a, b, batch["index"].numpy())
        gradients.append(tape.gradient(loss, still.trainable_weights))
    return still, reference.log_u, [sum(of) / PARTS for of in zip(*gradients, strict=True)]


def warned(caplog):
    return [r.getMessage() for r in caplog.records if r.msg.startswith("fit ended")]


def test_a_loss_that_moves_its_temperature_every_batch_is_refused(data):
    options = {"temperature_scheme": "global", "temperature_optimizer": "adam"}
    built = sogclr_tf.SogCLR(encoder(), sogclr_tf.build_loss("two_way", N, **options))
    built.compile(keras.optimizers.SGD(RATE, gradient_accumulation_steps=2))
    with pytest.raises(ValueError, match="gradient_accumulation_steps is 2, but .* 'adam'"):
        built.fit(data, verbose=0)


class TestFit:
    @pytest.mark.slow(reason="traces a step of many updates")
    def test_an_update_is_by_the_mean_gradient_of_its_parts(self, built, data):
        """Each part moves the rows of its own examples, once; the weights move with the last."""
        still, log_u, gradients = by_hand(data)
        before = [weight.numpy() for weight in built.trainable_weights]
        built.fit(data.take(PARTS - 1), verbose=0)
        for weight, old in zip(built.trainable_weights, before, strict=True):
            np.testing.assert_array_equal(weight, old)
        table = built.contrastive_loss.log_u
        assert np.isfinite(table.numpy()).sum() == (PARTS - 1) * BATCH
        built.fit(data.skip(PARTS - 1), verbose=0)
        assert_close(table, log_u, terms=10_000)
        assert_close(table, still.contrastive_loss.log_u)
        want = [w - RATE * gradient for w, gradient in zip(before, gradients, strict=True)]
        assert_all_close(built.trainable_weights, want, terms=1000)
        moved = [np.abs(w - old).max() for w, old in zip(want, before, strict=True)]
        assert max(moved) > 1e-3

    @pytest.mark.slow(reason="a model is traced for several fits")
    def test_goes_on_in_the_next_epoch_and_fit_and_warns_of_what_waits(self, built, data, caplog):
        with caplog.at_level(logging.WARNING, "sogclr_tf"):
            built.fit(data.repeat(), epochs=2, steps_per_epoch=PARTS - 1, verbose=0)
            assert int(built.optimizer.iterations) == 1
            assert warned(caplog) == [
                "fit ended with the gradients of 1 batches accumulated, of the 3 that make an "
                "update: the next fit of this model goes on with them, without one they are lost"
            ]
            caplog.clear()
            built.fit(data.take(PARTS - 1), verbose=0)
        assert int(built.optimizer.iterations) == 2
        assert warned(caplog) == []

    def test_the_probe_learns_from_every_batch(self, built, data):
        built.fit(data.take(1), verbose=0)
        assert int(built.optimizer.iterations) == 0
        assert np.abs(built.probe.kernel.numpy()).max() > 0


def gradients_of(updates, parts):
    """float32 [updates, parts, 2, 3], the mean of the parts exact in float32."""
    drawn = np.random.default_rng(0).integers(-8, 9, (updates, parts, 2, 3)) * parts
    return drawn.astype(np.float32) / 64


def trained_by(name, gradients, parts, wrap=lambda optimizer: optimizer):
    """([the rate of each call], a kernel) after calls with these gradients, [calls, 2, 3]."""
    values = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    kernel = keras.Variable(values, name="kernel")
    calls = len(gradients)
    schedule = warmup_cosine(
        0.5, total_steps=calls // parts, warmup_steps=2, gradient_accumulation_steps=parts
    )
    decay = 0.0 if name == "adam" else 0.1
    optimizer = build_optimizer(name, schedule, decay, gradient_accumulation_steps=parts)
    wrapped = wrap(optimizer)
    wrapped.build([kernel])
    step = tf.function(lambda gradient: wrapped.apply([gradient], [kernel]))
    rates = []
    for gradient in gradients:
        rates.append(float(optimizer.learning_rate))
        step(tf.constant(gradient))
    return rates, kernel.numpy()


class TestOptimizers:
    @pytest.mark.parametrize("name", optimizer_names())
    def test_update_u_is_step_u_of_a_run_without_accumulation(self, name):
        """Warm-up, cosine, decay and Adam's bias corrections all count updates."""
        gradients = gradients_of(updates=7, parts=4)
        rates, kernel = trained_by(name, gradients.reshape(-1, 2, 3), 4)
        want_rates, want = trained_by(name, gradients.mean(axis=1), 1)
        assert rates == np.repeat(want_rates, 4).tolist()
        assert_close(kernel, want)

    @pytest.mark.parametrize("name", ["sgd", "lars"])
    def test_under_the_loss_scale_of_float16(self, name):
        """A batch whose gradients overflow is passed over, and its update waits for one more."""
        gradients = gradients_of(updates=5, parts=2).reshape(-1, 2, 3)
        overflowing = np.insert(gradients, 3, np.inf, axis=0)

        def wrap(optimizer):
            return keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0)

        # Overflow halves the scale of what comes behind it.
        scales = np.where(np.arange(11) < 4, 2.0, 1.0).reshape(-1, 1, 1).astype(np.float32)
        _, want = trained_by(name, gradients, 2)
        _, kernel = trained_by(name, overflowing * scales, 2, wrap)
        assert_close(kernel, want)

    def test_what_waits_is_counted(self):
        optimizer = build_optimizer("sgd", 0.1, gradient_accumulation_steps=3)
        kernel = keras.Variable([1.0], name="kernel")
        counted = []
        for _ in range(4):
            optimizer.apply([tf.constant([1.0])], [kernel])
            counted.append(keras_hooks.accumulated_batches(optimizer))
        assert counted == [(1, 3), (2, 3), (0, 3), (1, 3)]
        scaled = keras.optimizers.LossScaleOptimizer(optimizer)
        assert keras_hooks.accumulated_batches(scaled) == (1, 3)
        assert keras_hooks.accumulated_batches(build_optimizer("adam", 0.1)) == (0, 1)
