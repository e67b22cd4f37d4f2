"""A model that trains in an instant, for tests of what is around it."""

import functools

import keras
import numpy as np
import tensorflow as tf
from support.streams import traced_once

import sogclr_tf

N, BATCH, RATE = 24, 8, 0.01
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 8, 8, 3), np.uint8)
LABELS = np.arange(N) % 3


def views(images=IMAGES, batch_size=BATCH, **policy):
    """A stream of views of 8 x 8 pixels."""
    policy = sogclr_tf.Policy(size=8, **{"min_area": 0.5, **policy})
    if images is IMAGES:
        return _views(batch_size, policy)
    return sogclr_tf.training_views(images, batch_size=batch_size, policy=policy)


@functools.cache
def _views(batch_size, policy):
    return traced_once(sogclr_tf.training_views(IMAGES, batch_size=batch_size, policy=policy))


def encoder(seed=0, channels=3, regularizer=None):
    """An encoder with batch normalization, of 54 features."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, channels)),
            keras.layers.Conv2D(6, 3, strides=2, kernel_regularizer=regularizer),
            keras.layers.BatchNormalization(synchronized=True),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
        ]
    )


def model(loss="sogclr", num_examples=N, **compile_options):
    """A `SogCLR` of that encoder, compiled."""
    built = sogclr_tf.SogCLR(encoder(), sogclr_tf.build_loss(loss, num_examples, temperature=0.5))
    # The projector starts small, before a batch normalization: its gradients start large.
    built.compile(optimizer=keras.optimizers.SGD(RATE), **compile_options)
    return built


def labeled():
    """The stream of `views`, with labels."""
    return views(tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)))


def probed_model(probe=True, classes=3, **options):
    built = sogclr_tf.SogCLR(
        encoder(),
        sogclr_tf.GlobalContrastiveLoss(len(IMAGES), 0.5),
        probe=sogclr_tf.OnlineProbe(classes, **options) if probe else None,
    )
    built.compile(keras.optimizers.SGD(0.01))
    return built
