"""Trainings of a few steps, that are checkpointed and cut off."""

import functools

import keras
import numpy as np
from support.streams import traced_once

import sogclr_tf
from sogclr_tf import Checkpoints, SaveCheckpoints
from sogclr_tf.training.preemption import StopOnSignal

N, BATCH, EPOCHS = 24, 4, 3
STEPS = N // BATCH
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 8, 8, 3), np.uint8)


@functools.cache
def views():
    policy = sogclr_tf.Policy(size=8, min_area=0.5)
    return traced_once(sogclr_tf.training_views(IMAGES, batch_size=BATCH, policy=policy))


def new_model(num_examples=N, width=6, accumulated=None, **compile_options):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(width, 3, strides=2),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    built = sogclr_tf.SogCLR(encoder, sogclr_tf.GlobalContrastiveLoss(num_examples))
    sgd = keras.optimizers.SGD(0.01, momentum=0.9, gradient_accumulation_steps=accumulated)
    built.compile(optimizer=sgd, **compile_options)
    built.optimizer.build(built.trainable_variables)
    return built


@functools.cache
def traced_once_by(**options):
    """(a model, its values when it was new): its step is traced once for all tests."""
    built = new_model(**options)
    return built, values_of(built)


def model(**options):
    """The model of these options, as when it was new; it is the same object each time."""
    built, values = traced_once_by(**options)
    for variable, value in zip(variables_of(built), values, strict=True):
        variable.assign(value)
    return built


def variables_of(built):
    return [*built.variables, *built.optimizer.variables, *built.metrics_variables]


def values_of(built):
    return [np.asarray(variable) for variable in variables_of(built)]


class AtStep(keras.callbacks.Callback):
    """Calls something after a step of training."""

    def __init__(self, step, action):
        super().__init__()
        self._step, self._action = step, action

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        if self.model.trained_steps == self._step:
            self._action()


def power_cut():
    raise EOFError


def train(folder, *callbacks, initial_step=None, epochs=EPOCHS, every_steps=1, **options):
    """(values of all variables, history) of training from what `folder` holds."""
    built = model(**options)
    checkpoints = Checkpoints(built, folder)
    save = SaveCheckpoints(checkpoints, every_steps=every_steps)
    with StopOnSignal(checkpoints) as stop:
        history = built.fit(
            views(),
            epochs=epochs,
            initial_step=checkpoints.restore() if initial_step is None else initial_step,
            callbacks=[*callbacks, save, stop],
            verbose=0,
        ).history
    return values_of(built), history


def assert_same(one, other):
    for want, got in zip(one, other, strict=True):
        np.testing.assert_array_equal(got, want)
