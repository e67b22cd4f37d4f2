"""What is said of running averages that a training was too short for."""

import logging

import keras
import pytest
from support.small_model import views

import sogclr_tf


def trained(momentum, caplog, trainable=True):
    """What is warned of when a network has trained three steps."""
    norm = keras.layers.BatchNormalization(momentum=momentum, name="norm", trainable=trainable)
    encoder = keras.Sequential([keras.Input((8, 8, 3)), norm, keras.layers.Flatten()])
    model = sogclr_tf.SogCLR(encoder, sogclr_tf.NTXentLoss())
    model.compile(keras.optimizers.SGD(0.01), jit_compile=False)
    with caplog.at_level(logging.WARNING, "sogclr_tf"):
        model.fit(views(), verbose=0)
    return [message for message in caplog.messages if "momentum" in message]


def test_averages_that_have_hardly_moved(caplog):
    (message,) = trained(0.999, caplog)
    assert message.startswith(
        "1 BatchNormalization layers (norm, ...) average over more steps than there were: with "
        "momentum 0.999, 100% of their averages is after 3 steps what it was before the first"
    )


@pytest.mark.parametrize(
    ("momentum", "trainable"), [(0.99, True), (0.9, True), (0.999, False)], ids=str
)
def test_nothing_is_said(caplog, momentum, trainable):
    """Of Keras's default, of a shorter one, and of frozen averages."""
    assert trained(momentum, caplog, trainable) == []
