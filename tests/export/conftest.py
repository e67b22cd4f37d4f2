"""An export, as docs/serving.md has it."""

import importlib.util
import shutil
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.served import EXPORT, WARMUP, digits, photographs, pixels

import sogclr_tf


@pytest.fixture(scope="module")
def model():
    """Networks as in configs/digits.py, untrained, and a head of ten classes."""
    keras.utils.set_random_seed(0)
    encoder = sogclr_tf.small_resnet(input_shape=(16, 16, 3))
    projector, head = sogclr_tf.projection_head(128), keras.Sequential([keras.layers.Dense(10)])
    # A step in training mode moves the batch statistics, so that inference mode shows.
    features = encoder(digits()[:64], training=True)
    projector(features, training=True)
    head(features)
    return types.SimpleNamespace(encoder=encoder, projector=projector, head=head)


@pytest.fixture(scope="module")
def place(model, tmp_path_factory):
    """A folder with what the page's snippets find in theirs."""
    place = tmp_path_factory.mktemp("serving")
    runs = place / "runs" / "digits"
    sogclr_tf.export_encoder(
        model,
        runs / "saved_model",
        version=216,
        head=model.head,
        class_names=[str(digit) for digit in range(10)],
        warmup_batches=WARMUP if importlib.util.find_spec("tensorflow_serving") else (),
    )
    sogclr_tf.export_keras(model, runs / "encoder.keras")
    sogclr_tf.export_tflite(model, runs / "encoder.tflite")
    np.save(place / "digits.npy", digits()[:1])
    np.save(place / "my_images.npy", digits()[:32])
    np.save(place / "my_labels.npy", np.arange(32) % 10)
    (place / "digit.png").write_bytes(tf.io.encode_png(pixels()[0]).numpy())
    shutil.copy(photographs()[0], place / "photograph.jpg")
    return place


@pytest.fixture(scope="module")
def loaded(place):
    return tf.saved_model.load(str(place / EXPORT))
