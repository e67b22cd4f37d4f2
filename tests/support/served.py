"""What served models are asked, and what they are to answer."""

import functools
import importlib.util

import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
from support.numerics import assert_close

from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.data.sources.open import from_name

# Relative to the folder of a test, as on the page.
EXPORT = "runs/digits/saved_model/216"
WARMUP = (1, 3)

needs_protocol = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_serving") is None,
    reason="no tensorflow-serving-api: pip install --no-deps tensorflow-serving-api",
)


@functools.cache
def digits():
    """Digits as an evaluation sees them: float32 [599, 16, 16, 3]."""
    source = from_name("digits", "test")
    images, _ = evaluation_set(source, 16)
    return np.stack(list(images.as_numpy_iterator()))


@functools.cache
def pixels():
    images, _ = from_name("digits", "test").images_and_labels()
    return list(images.take(64).as_numpy_iterator())


def photographs():
    return sorted(sklearn.datasets.load_sample_images().filenames)


def expected(model, images):
    """{output: what the Keras model computes of images}."""
    features = model.encoder(images, training=False)
    return {
        "features": features.numpy(),
        "projections": model.projector(features, training=False).numpy(),
        "probabilities": tf.nn.softmax(model.head(features)).numpy(),
    }


def close(found, wanted):
    assert_close(found, wanted)


def parsed(printed):
    """Per request, the features as an array or the error as a line."""
    answers, lines = [], iter(printed.splitlines())
    for line in lines:
        kind, *rest = line.split(" ")
        if kind == "refused:":
            answers.append(line)
            continue
        shape = [int(number) for number in rest]
        numbers = [float(next(lines)) for _ in range(np.prod(shape))]
        answers.append(np.reshape(numbers, shape))
    return answers
