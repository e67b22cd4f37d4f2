"""Models that take a batch in chunks."""

import keras
import numpy as np
from support.small_model import BATCH, IMAGES, N

import sogclr_tf
from sogclr_tf.losses.registry import build_loss

ARRAYS = {
    "view_a": IMAGES / np.float32(255),
    "view_b": IMAGES[:, ::-1] / np.float32(255),
    "index": np.arange(N),
    "label": np.arange(N) % 3,
}
PENALTY = keras.regularizers.L2(0.01)


def encoder(*inner):
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(6, 3, strides=2, kernel_regularizer=PENALTY),
            *inner,
            keras.layers.Activation("tanh"),
            keras.layers.Flatten(),
        ]
    )


def model(chunks, *inner, loss="sogclr", optimizer=None, **compile_options):
    """A model of arrays, with a probe, built and compiled."""
    keras.utils.set_random_seed(0)
    projector = keras.Sequential([keras.Input((54,)), keras.layers.Dense(8)])
    loss = build_loss(loss, N, temperature=0.5)
    probe = sogclr_tf.OnlineProbe(3)
    built = sogclr_tf.SogCLR(encoder(*inner), loss, projector, probe, chunks=chunks)
    optimizer = optimizer or keras.optimizers.SGD(0.05, momentum=0.9)
    built.compile(optimizer, **{"jit_compile": False, **compile_options})
    return built


def fit(built, **options):
    """Three steps; the losses of the epoch."""
    return built.fit(ARRAYS, batch_size=BATCH, shuffle=False, verbose=0, **options).history
