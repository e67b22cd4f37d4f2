"""Features of an encoder: what predict gives, of whatever holds the images."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.bfloat16 import needs_bfloat16
from support.numerics import assert_close

from sogclr_tf.evaluation.features import extract_features


def test_extract_features_equals_predict(encoder, images):
    expected = encoder.predict(images[:50] / np.float32(255), verbose=0)
    extracted = extract_features(encoder, images[:50], batch_size=16)
    assert extracted.dtype == np.float32
    assert_close(extracted, expected)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 64])
def test_extract_features_does_not_depend_on_the_batch_size(encoder, images, batch_size):
    expected = extract_features(encoder, images[:50], batch_size=10)
    extracted = extract_features(encoder, images[:50], batch_size=batch_size)
    assert_close(extracted, expected)


def test_extract_features_takes_datasets_and_floats(encoder, images):
    expected = extract_features(encoder, images[:20], batch_size=8)
    dataset = tf.data.Dataset.from_tensor_slices(images[:20])
    for source in (dataset, images[:20] / 255, dataset.map(lambda x: tf.cast(x, tf.float32) / 255)):
        extracted = extract_features(encoder, source, batch_size=8)
        assert_close(extracted, expected)


def test_extract_features_traces_once(images):
    shapes = []

    def encoder(batch, training):
        shapes.append(tuple(batch.shape))
        assert training is False
        return tf.reduce_mean(batch, axis=(1, 2))

    extract_features(encoder, images[:50], batch_size=16)
    assert shapes == [(16, 8, 8, 3)]


@needs_bfloat16
def test_extract_features_are_float32_under_bfloat16(images):
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, dtype="mixed_bfloat16"),
            keras.layers.GlobalAveragePooling2D(dtype="mixed_bfloat16"),
        ]
    )
    assert extract_features(encoder, images[:3]).dtype == np.float32


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((8, 8, 3), np.uint8), r"must be \[N, H, W, C\], got shape \(8, 8, 3\)"),
        (np.zeros((0, 8, 8, 3), np.uint8), "no images"),
        (np.zeros((2, 8, 8, 3), np.int64), "got dtype int64"),
        (np.full((2, 8, 8, 3), 255.0), "0..1, got 255..255"),
        (np.full((2, 8, 8, 3), np.nan), "0..1, got nan"),
        (tf.data.Dataset.from_tensors(np.zeros((2, 8, 8, 3))), "single images"),
        (tf.data.Dataset.from_tensors((np.zeros((8, 8, 3)), 1)), "single images"),
    ],
)
def test_extract_features_refuses(encoder, images, message):
    with pytest.raises(ValueError, match=message):
        extract_features(encoder, images)


def test_extract_features_refuses_a_feature_map(images):
    encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=r"features \[B, D\], got shape \(4, 6, 6, 2\)"):
        extract_features(encoder, images[:4], batch_size=4)
