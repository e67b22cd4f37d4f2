"""Objectives by their names, projections for them, and what they give."""

import numpy as np
import tensorflow as tf

from sogclr_tf.losses.registry import build_loss, loss_names, loss_options

N = 12
# Options of a loss beside its defaults, by the loss and a word for them.
VARIANTS = {
    "two_way/global": {"temperature_scheme": "global"},
    "two_way/adam": {"temperature_scheme": "global", "temperature_optimizer": "adam"},
    "two_way/unscaled": {"temperature_scheme": "unscaled", "epsilon": 0.001},
    "two_way/individual": {"temperature_scheme": "individual"},
    "two_way/individual_adam": {
        "temperature_scheme": "individual",
        "temperature_optimizer": "adam",
    },
    "clip/constant": {"temperature_scheme": "constant"},
}
NAMES = [*loss_names(), *VARIANTS]
# Room for every temperature that is tested.
WIDE = {"min_temperature": 0.001, "max_temperature": 2.0}


def build(name, num_examples=N, **options):
    options = {**VARIANTS.get(name, {}), **options}
    name = name.partition("/")[0]
    if "min_temperature" in loss_options(name):
        options = {**WIDE, **options}
    return build_loss(name, num_examples, **options)


def with_option(option):
    """The names of the objectives that have it."""
    return [name for name in NAMES if option in loss_options(name.partition("/")[0])]


def loss_and_gradients(contrastive_loss, a, b, index):
    a, b = tf.constant(a), tf.constant(b)
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        loss = contrastive_loss(a, b, index)
    return [float(loss), *(g.numpy() for g in tape.gradient(loss, [a, b]))]


def projections(batch, width, seed):
    values = np.random.default_rng(seed).normal(size=(2, batch, width)).astype(np.float32)
    # Views of one example are near each other, as in training.
    values[1] = values[0] + 0.5 * values[1]
    return values


def gradients_with_weights(contrastive_loss, a, b, index):
    """As `loss_and_gradients`, then the gradients by the objective's trainable weights."""
    a, b = tf.constant(a), tf.constant(b)
    weights = [weight.value for weight in contrastive_loss.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        loss = contrastive_loss(a, b, index)
    found = tape.gradient(loss, [a, b, *weights])
    return [float(loss), *(g.numpy() for g in found)]
