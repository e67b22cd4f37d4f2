"""What happens beside training."""

import logging
import time

import keras
import numpy as np
from support.small_model import N, encoder, views

import sogclr_tf
from sogclr_tf.training import callbacks


def collapsed():
    """A model whose encoder gives one vector for all images."""
    net = encoder()
    head = keras.layers.Dense(4, kernel_initializer="zeros", bias_initializer="ones")
    built = sogclr_tf.SogCLR(keras.Sequential([net, head]), sogclr_tf.GlobalContrastiveLoss(N, 0.5))
    built.compile(keras.optimizers.SGD(0.0))
    return built


def own_messages(caplog):
    """What this package logged: TensorFlow counts the tracings of whatever tests went before."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("sogclr_tf")]


def test_a_collapse_is_told_once(caplog):
    with caplog.at_level(logging.WARNING, "sogclr_tf"):
        history = collapsed().fit(views(), epochs=3, verbose=0).history
    np.testing.assert_allclose(history["feature_std"], 0, atol=1e-3)
    told = own_messages(caplog)
    assert len(told) == 1
    assert "in epoch 1: the features of all images are nearly the same" in told[0]


def test_no_collapse_is_not_told(caplog):
    built = sogclr_tf.SogCLR(encoder(), sogclr_tf.GlobalContrastiveLoss(N, 0.5))
    built.compile(keras.optimizers.SGD(0.0))
    with caplog.at_level(logging.WARNING, "sogclr_tf"):
        history = built.fit(views(), verbose=0).history
    assert history["feature_std"][0] > 0.05
    assert not own_messages(caplog)


def test_a_pause_is_left_out_of_the_pace():
    pause, steps, logs = 0.05, 3, {}
    pace = callbacks.Pace(batch_size=8)
    built = sogclr_tf.SogCLR(encoder(), sogclr_tf.GlobalContrastiveLoss(N, 0.5))
    pace.set_model(built)
    began = time.perf_counter()
    pace.on_epoch_begin(0)
    with pace.paused():
        time.sleep(pause)
    built._trained_steps.assign_add(steps)
    pace.on_train_batch_end(0, logs)
    seconds = steps * 8 / logs["examples_per_second"]
    assert 0 < seconds < time.perf_counter() - began - pause
