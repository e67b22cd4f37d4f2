"""gamma that falls over training: its course, and where its steps are counted."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_all_close, assert_close, close
from support.reference import GlobalContrastive
from support.small_model import N, encoder, views

import sogclr_tf
from sogclr_tf import Checkpoints
from sogclr_tf.losses import gamma_schedule, registry


def falling_loss(name="sogclr", decay_steps=5):
    return registry.build_loss(name, N, temperature=0.5, gamma=0.3, gamma_decay_steps=decay_steps)


def falling_model(name="sogclr", **compile_options):
    built = sogclr_tf.SogCLR(encoder(), falling_loss(name))
    built.compile(optimizer=keras.optimizers.SGD(0.01, momentum=0.9), **compile_options)
    return built


def assert_same_weights(got, want, terms=0):
    """To the bit, or with so many additions behind an entry: all that learns or is counted."""
    assert_all_close(learned(got), learned(want), terms)


def learned(model):
    weights = (*model.encoder.weights, *model.projector.weights, *model.contrastive_loss.weights)
    return [np.asarray(weight) for weight in (*weights, model._trained_steps)]


class TestCourse:
    @pytest.mark.parametrize(
        ("step", "want"), [(0, 1.0), (50, 0.6), (100, 0.2), (101, 0.2), (10**9, 0.2)]
    )
    def test_values_of_the_docstring(self, step, want):
        assert float(gamma_schedule.falling(0.2, 100, tf.constant(step))) == close(want, terms=4)

    def test_it_falls_at_every_step_within_its_bounds(self):
        values = np.array([gamma_schedule.falling(0.1, 7, tf.constant(step)) for step in range(8)])
        assert (np.diff(values) < 0).all()
        assert values.min() >= np.float32(0.1)
        assert values.max() <= 1

    def test_objective_averages_with_the_gamma_of_its_step(self):
        contrastive_loss, reference = falling_loss(), GlobalContrastive(N, 0.5, 1.0)
        rng = np.random.default_rng(0)
        for step in range(8):
            a, b = rng.normal(size=(2, 4, 8)).astype(np.float32)
            reference.normalizer.gamma = 0.3 + 0.7 * (1 + np.cos(np.pi * min(step / 5, 1))) / 2
            value, _ = reference.step(a, b, np.arange(4))
            assert float(contrastive_loss(a, b, np.arange(4))) == close(value, at_least=1)
        assert_close(contrastive_loss.log_u, reference.log_u)

    @pytest.mark.parametrize("wrong", [-1, 2.5])
    def test_bad_decay_steps(self, wrong):
        with pytest.raises(ValueError, match=f"gamma_decay_steps is {wrong}: .* whole number"):
            falling_loss(decay_steps=wrong)


class TestCounter:
    def test_a_constant_gamma_has_none(self):
        assert len(falling_loss(decay_steps=0).weights) == 1
        assert [tuple(weight.shape) for weight in falling_loss().weights] == [(N,), ()]

    def test_it_counts_training_steps_alone(self):
        contrastive_loss = falling_loss()
        a, b = np.random.default_rng(0).normal(size=(2, 4, 8)).astype(np.float32)
        for training in (True, False, True, False, False, True):
            contrastive_loss(a, b, np.arange(4), training=training)
        assert int(contrastive_loss.weights[-1]) == 3

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_graph_and_xla_equal_eager(self, jit_compile):
        eager, compiled = falling_loss(), falling_loss()
        step = tf.function(compiled, jit_compile=jit_compile)
        rng = np.random.default_rng(0)
        for _ in range(6):
            a, b = rng.normal(size=(2, 4, 8)).astype(np.float32)
            losses = [float(f(a, b, tf.range(4))) for f in (eager, step)]
            assert losses[0] == close(losses[1], at_least=1)
        assert [int(loss.weights[-1]) for loss in (eager, compiled)] == [6, 6]


class TestFit:
    @pytest.mark.slow(reason="a step is traced and compiled anew for each case")
    def test_own_loop_equals_fit(self):
        by_fit, by_hand = falling_model(), falling_model()
        by_fit.fit(views(), epochs=2, verbose=0)
        by_hand.optimizer.build(by_hand.trainable_variables)
        step = tf.function(by_hand.train_step)
        for batch in views().stream().take(6):
            step(batch)
        assert_same_weights(by_hand, by_fit)

    def test_several_steps_per_execution(self):
        one, three = falling_model(), falling_model(steps_per_execution=3)
        one.fit(views(), epochs=2, verbose=0)
        three.fit(views(), epochs=2, verbose=0)
        assert_same_weights(three, one, terms=100)

    @pytest.mark.slow(reason="a step is traced for each of three models")
    @pytest.mark.parametrize("name", ["sogclr", "isogclr"])
    def test_resumed_is_uninterrupted_bit_for_bit(self, name, tmp_path):
        whole, first, again = (falling_model(name) for _ in range(3))
        whole.fit(views(), epochs=2, verbose=0)
        first.fit(views(), epochs=1, verbose=0)
        Checkpoints(first, tmp_path).save()
        assert Checkpoints(again, tmp_path).restore() == 3
        again.fit(views(), initial_epoch=1, epochs=2, verbose=0)
        assert_same_weights(again, whole)

    @pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
    def test_keras_files_keep_the_count(self, suffix, tmp_path):
        built, again = falling_model(), falling_model()
        path = str(tmp_path / f"model{suffix}")
        built.fit(views(), steps_per_epoch=2, verbose=0)
        if suffix == ".keras":
            built.save(path)
            again = keras.saving.load_model(path)
        else:
            built.save_weights(path)
            again.load_weights(path)
        assert again.contrastive_loss.get_config() == built.contrastive_loss.get_config()
        assert_same_weights(again, built)
        assert int(again.contrastive_loss.weights[-1]) == 2
