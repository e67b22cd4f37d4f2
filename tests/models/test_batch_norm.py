"""What is said of running averages that a training was too short for."""

import logging

import keras
import pytest
from support.small_model import views

import sogclr_tf
from sogclr_tf.models import batch_norm


def network(momentum, trainable=True):
    norm = keras.layers.BatchNormalization(momentum=momentum, name="norm", trainable=trainable)
    return keras.Sequential([keras.Input((8, 8, 3)), norm, keras.layers.Flatten()])


def test_averages_that_have_hardly_moved(caplog):
    batch_norm.warn_of_averages(network(0.999), 216)
    assert caplog.messages == [
        "1 BatchNormalization layers (norm, ...) average over more steps than there were: with "
        "momentum 0.999, 81% of their averages is after 216 steps what it was before the first, so "
        "that inference is not what was trained: set layer.momentum to 0.9 before training, or "
        "train longer"
    ]


@pytest.mark.parametrize(
    ("momentum", "trainable", "steps"),
    [(0.999, True, 700), (0.99, True, 3), (0.9, True, 3), (0.999, False, 3)],
    ids=str,
)
def test_nothing_is_said(caplog, momentum, trainable, steps):
    """After enough steps, of Keras's default, of a shorter one, and of frozen averages."""
    batch_norm.warn_of_averages(network(momentum, trainable), steps)
    assert caplog.messages == []


@pytest.mark.slow(reason="traces a step")
def test_fit_says_it_when_it_ends(caplog):
    model = sogclr_tf.SogCLR(network(0.999), sogclr_tf.NTXentLoss())
    model.compile(keras.optimizers.SGD(0.01), jit_compile=False)
    with caplog.at_level(logging.WARNING, "sogclr_tf"):
        model.fit(views(), verbose=0)
    assert [message for message in caplog.messages if "is after 3 steps" in message]
