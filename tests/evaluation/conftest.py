"""Digits by their pixels, and an encoder for them."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits


@pytest.fixture(scope="session")
def digits():
    """Train features, train labels, test features, test labels: the pixels are the features."""
    features, labels = load_digits(return_X_y=True)
    features = (features / 16).astype(np.float32)
    return features[:1200], labels[:1200], features[1200:], labels[1200:]


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Flatten(),
        ]
    )


@pytest.fixture(scope="session")
def images(digits):
    gray = np.concatenate([digits[0], digits[2]]).reshape(-1, 8, 8, 1)
    return np.round(np.repeat(gray, 3, axis=-1) * 255).astype(np.uint8)
