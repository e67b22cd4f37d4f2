"""Trains every objective for five steps on one strategy, and writes what came out.

    python tests/equivalence.py DEVICES FILE.npz

With TF_CONFIG in the environment the process is one worker of several. Each number of devices
needs a process of its own: two MirroredStrategies over the same devices share the keys of their
collectives, and the second one fails.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

import sogclr_tf
from sogclr_tf.objectives import build_objective, objective_names

NUM_EXAMPLES, BATCH, STEPS = 48, 16, 5


def views():
    images = np.random.default_rng(0).integers(0, 256, (NUM_EXAMPLES, 8, 8, 3), np.uint8)
    policy = sogclr_tf.augment.Policy(size=8, min_area=0.5)
    return sogclr_tf.training_views(images, batch_size=BATCH, policy=policy)


def model(name):
    """A small network with batch normalisation, whose loss is smooth enough to compare."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(6, 3, strides=2),
            keras.layers.BatchNormalization(synchronized=True),
            keras.layers.Activation("tanh"),
            keras.layers.Flatten(),
        ]
    )
    projector = keras.Sequential([keras.Input((54,)), keras.layers.Dense(8)])
    built = sogclr_tf.SogCLR(encoder, build_objective(name, NUM_EXAMPLES), projector)
    built.compile(optimizer=keras.optimizers.SGD(0.005, momentum=0.9), jit_compile=False)
    return built


class Losses(keras.callbacks.Callback):
    """The loss of every step; Keras's own is the running mean of the epoch."""

    def __init__(self):
        super().__init__()
        self.values = []

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        self.values.append(
            [float(np.mean(logs["loss"])), float(np.mean(logs["contrast_accuracy"]))]
        )


def train(strategy):
    """{objective/what: array} after five steps of every objective under the strategy."""
    found = {}
    for name in objective_names():
        with strategy.scope():
            built = model(name)
        losses = Losses()
        stream = views().stream()
        built.fit(stream, steps_per_epoch=STEPS, callbacks=[losses], verbose=0)
        found[f"{name}/losses"] = np.array(losses.values)
        # The momentum of SGD holds the gradients of all steps.
        for variable in [*built.weights, *built.optimizer.variables]:
            found[f"{name}/{variable.path}"] = np.asarray(variable)
    return found


def main(devices, path):
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * devices,
    )
    name = "multiworker" if "TF_CONFIG" in os.environ else "mirrored" if devices > 1 else "one"
    np.savez(path, **train(sogclr_tf.strategy.build_strategy(name)))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
