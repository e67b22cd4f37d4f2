"""Trains every objective for some steps on one strategy, and writes what came out.

    python tests/support/equivalence.py FILE.npz [--devices=N] [--steps=N] [--folder=DIR] [--cut]
        [--plain] [--cases=NAME,...] [--chunks=K,...]

With --folder, training goes on from the checkpoint there and leaves one; with --cut, gradients
through the gather are cut, as a wrong implementation would; with --plain, batch normalization stays
as Keras makes it. With --chunks the network has no batch normalization, but losses of its own, and
trains with each of these; the keys of FILE begin with "K chunks/". With TF_CONFIG in the
environment the process is one worker of several. Each number of devices needs a process of its own:
two MirroredStrategies over the same devices share the keys of their collectives, and the second
fails.
"""

import argparse
import dataclasses
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

import sogclr_tf
from sogclr_tf.losses import replica
from sogclr_tf.losses.registry import build_loss, loss_names
from sogclr_tf.training.strategy import build_strategy

NUM_EXAMPLES, BATCH, STEPS, RATE = 48, 16, 5, 0.005
LEARNED = {"temperature_scheme": "global", "temperature": 0.5, "rho": 1.0}
# Between them the objectives take every path that differs across replicas.
OPTIONS = {
    "dcl": {"negatives": "other"},
    "sogclr": {"gamma_decay_steps": STEPS},
    "isogclr": {"eta": 0.05, "gamma": 0.5},
    "two_way": {**LEARNED, "gamma_decay_steps": STEPS},
    "two_tower": {**LEARNED, "num_captions": 2 * NUM_EXAMPLES},
    "two_way_individual": {**LEARNED, "temperature_scheme": "individual", "gamma": 0.5},
}
# Beside the objectives: one of their variants, the model of images and texts, one whose probe
# learns from the averages of the encoder's weights, and one that finishes its views.
CASES = [*loss_names(), "two_way_individual", "two_tower", "averaged", "finished"]
_LOSSES = {
    "two_way_individual": "two_way",
    "two_tower": "two_way",
    "averaged": "sogclr",
    "finished": "sogclr",
}
WORDS = ["", "[UNK]", *"abcdefgh"]


def stream(name):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (NUM_EXAMPLES, 8, 8, 3), np.uint8)
    policy = sogclr_tf.Policy(size=8, min_area=0.5)
    if name == "two_tower":
        # Two captions of each image.
        texts = [list(map(" ".join, of)) for of in random.choice(WORDS[2:], (NUM_EXAMPLES, 2, 3))]
        return sogclr_tf.training_pairs(images, texts, batch_size=BATCH, policy=policy)
    labeled = sogclr_tf.ArraySource(images, random.integers(0, 3, NUM_EXAMPLES))
    finish = "host"
    if name == "finished":
        # What rounds to the same bytes in batches of any size.
        changed = {"jitter": 0.0, "grayscale": 0.0, "solarize": 0.5}
        policy, finish = dataclasses.replace(policy, **changed), "device"
    return sogclr_tf.training_views(labeled, batch_size=BATCH, policy=policy, finish=finish)


def network(of_batch):
    """A small network, whose loss is smooth enough to compare, with batch normalization or without.

    Without it has losses of its own.
    """
    if of_batch:
        # A bias before the normalization would have no gradient but rounding.
        convolution = keras.layers.Conv2D(6, 3, strides=2, use_bias=False)
        # Plain, and inside another model, as in networks that people bring.
        inner = [keras.Sequential([keras.Input((3, 3, 6)), keras.layers.BatchNormalization()])]
    else:
        penalty = keras.regularizers.L2(0.01)
        convolution = keras.layers.Conv2D(
            6, 3, strides=2, kernel_regularizer=penalty, activity_regularizer=penalty
        )
        inner = []
    ends = [keras.layers.Activation("tanh"), keras.layers.Flatten()]
    return keras.Sequential([keras.Input((8, 8, 3)), convolution, *inner, *ends])


def model(name, plain=False, chunks=None):
    keras.utils.set_random_seed(0)
    encoder = network(of_batch=chunks is None)
    if not plain:
        encoder = sogclr_tf.synchronize_batch_norm(encoder)
    projector = keras.Sequential([keras.Input((54,)), keras.layers.Dense(8)])
    contrastive_loss = build_loss(_LOSSES.get(name, name), NUM_EXAMPLES, **OPTIONS.get(name, {}))
    if name == "two_tower":
        text_encoder = sogclr_tf.TextEncoder(WORDS, length=4, width=8, heads=2)
        parts = (projector, keras.layers.Dense(8))
        built = sogclr_tf.TwoTowerSogCLR(
            encoder, text_encoder, contrastive_loss, *parts, chunks=chunks or 1
        )
    else:
        probe = sogclr_tf.OnlineProbe(3)
        built = sogclr_tf.SogCLR(encoder, contrastive_loss, projector, probe, chunks=chunks or 1)
    averaging = {"use_ema": True, "ema_momentum": 0.5} if name == "averaged" else {}
    optimizer = keras.optimizers.SGD(RATE, momentum=0.9, **averaging)
    built.compile(optimizer=optimizer, jit_compile=False)
    return built


class FirstGradient(keras.callbacks.Callback):
    """The gradient of the first step, which is what momentum holds after it."""

    def __init__(self):
        super().__init__()
        self.values = {}

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
        if epoch == 0:
            velocities = [v for v in self.model.optimizer.variables if "momentum" in v.path]
            self.values = {v.path: np.asarray(v) / -RATE for v in velocities}


def train(strategy, steps, folder, cases, plain=False, chunks=None):
    """{case/what: array} after `steps` steps of the cases under the strategy."""
    found = {}
    for name in cases:
        # Keras numbers layers as they are built: the same names, whichever cases went before.
        keras.utils.clear_session()
        with strategy.scope():
            built = model(name, plain, chunks)
        kept = sogclr_tf.Checkpoints(built, folder / name) if folder else None
        first_gradient = FirstGradient()
        history = built.fit(
            stream(name),
            initial_step=kept.restore() if kept else 0,
            # An epoch a step, so that its loss is the step's and not a running mean.
            steps_per_epoch=1,
            epochs=steps,
            callbacks=[first_gradient],
            verbose=0,
        ).history
        if kept:
            kept.save()
        found |= {f"{name}/{what}": np.ravel(values) for what, values in history.items()}
        found |= {f"{name}/gradient of {k}": value for k, value in first_gradient.values.items()}
        for variable in [*built.weights, *built.optimizer.variables]:
            found[f"{name}/{variable.path}"] = np.asarray(variable)
    return found


def cut_gather():
    """Makes the gather lose the gradients of what it gathers."""
    gather = replica.gather
    replica.gather = lambda values: tf.stop_gradient(gather(values))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--cut", action="store_true")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--chunks", default="")
    options = parser.parse_args()
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * options.devices,
    )
    if options.cut:
        cut_gather()
    several = "mirrored" if options.devices > 1 else "one"
    strategy = build_strategy("multiworker" if "TF_CONFIG" in os.environ else several)
    cases = options.cases.split(",")
    found = {}
    for chunks in filter(None, options.chunks.split(",")):
        of_chunks = train(strategy, options.steps, None, cases, chunks=int(chunks))
        found |= {f"{chunks} chunks/{key}": values for key, values in of_chunks.items()}
    if not found:
        found = train(strategy, options.steps, options.folder, cases, options.plain)
    np.savez(options.file, **found)


if __name__ == "__main__":
    main()
