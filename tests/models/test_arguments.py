"""Arguments of Keras's `fit` and `evaluate` that mean nothing here are refused, in one line."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.small_model import BATCH, IMAGES, N, model, views

from sogclr_tf.models import arguments
from sogclr_tf.models.division import Division

ARRAYS = {"view_a": IMAGES, "view_b": IMAGES, "index": np.arange(N)}
DATA = tf.data.Dataset.from_tensor_slices(ARRAYS).batch(BATCH)


@pytest.fixture(scope="module")
def built():
    return model(jit_compile=False)


# What x is, what is given beside it, what is said.
FIT = [
    ("arrays", {"sample_weight": np.ones(N)}, "sample_weight was given: .*every example alike"),
    ("arrays", {"class_weight": {0: 1.0}}, "class_weight was given: .* no classes"),
    ("arrays", {"validation_split": 0.2}, "validation_split was given: .*validation_data"),
    ("views", {"sample_weight": np.ones(N)}, "sample_weight was given"),
    ("views", {"batch_size": 8}, "batch_size is 8, but the data brings its batches"),
    ("data", {"batch_size": 8}, "batch_size is 8, but the data brings its batches"),
    ("views", {"shuffle": False}, "shuffle is False, but x .*another order each epoch"),
    ("data", {"shuffle": True}, r"shuffle is True, but x .* call its shuffle\(\)"),
    ("views", {"epoch": 3}, "fit has no argument 'epoch': choose of batch_size, callbacks, epochs"),
    ("views", {"steps_per_epoch": 0}, "steps_per_epoch is 0: expected a whole number >= 1"),
    ("views", {"steps_per_epoch": 2.5}, "steps_per_epoch is 2.5: expected a whole number"),
    ("data", {"steps_per_epoch": 4}, "steps_per_epoch is 4, but the data has 3 batches"),
    ("arrays", {"batch_size": 8, "steps_per_epoch": 4}, "is 4, but the data has 3 batches"),
    ("arrays", {"batch_size": 1}, "batch_size is 1: expected a whole number >= 2"),
    ("arrays", {"batch_size": True}, "batch_size is True: expected a whole number >= 2"),
    ("arrays", {"batch_size": 23}, "the last batch of the 24 examples holds 1: at least 2"),
    ("views", {"validation_data": (ARRAYS, np.ones(N))}, "validation_data is a tuple of 2: .*no t"),
    ("views", {"validation_data": DATA, "validation_batch_size": 4}, "validation_batch_size is 4"),
    ("arrays", {"validation_data": ARRAYS, "validation_batch_size": 23}, "the last batch of the 2"),
    ("data", {"validation_data": DATA, "validation_steps": 9}, "validation_steps is 9, but"),
]
EVALUATE = [
    ("arrays", {"y": np.ones(N)}, "y was given: contrastive learning has no targets"),
    ("arrays", {"sample_weight": np.ones(N)}, "sample_weight was given"),
    ("views", {"batch_size": 8}, "batch_size is 8, but the data brings its batches"),
    ("data", {"batch_size": 8}, "batch_size is 8, but the data brings its batches"),
    ("views", {"steps": 4}, "steps is 4, but the data has 3 batches"),
    ("data", {"steps": -1}, "steps is -1: expected a whole number >= 1"),
    ("arrays", {"batch_size": 23}, "the last batch of the 24 examples holds 1: at least 2"),
    ("data", {"epochs": 2}, "evaluate has no argument 'epochs': choose of batch_size, callbacks"),
]


def given(kind):
    return {"arrays": ARRAYS, "data": DATA, "views": views()}[kind]


def refused(call, kind, kwargs, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(given(kind), **kwargs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "kwargs", "message"), FIT, ids=str)
def test_fit(built, kind, kwargs, message):
    refused(built.fit, kind, kwargs, message)


@pytest.mark.parametrize(("kind", "kwargs", "message"), EVALUATE, ids=str)
def test_evaluate(built, kind, kwargs, message):
    refused(built.evaluate, kind, kwargs, message)


def test_batches_that_do_not_divide_among_replicas():
    with pytest.raises(ValueError, match="a batch of the 24 examples holds 9: .* the 2 replicas"):
        arguments.check_fit(ARRAYS, {"batch_size": 9}, Division(2))
    fewer = {key: array[:22] for key, array in ARRAYS.items()}
    with pytest.raises(ValueError, match="the last batch of the 22 examples holds 2: .* 4 repl"):
        arguments.check_evaluate(fewer, None, {"batch_size": 20}, Division(4))
    arguments.check_evaluate(ARRAYS, None, {"batch_size": 10, "steps": 2}, Division(2))


@pytest.mark.slow(reason="steps of training and of evaluation are traced")
def test_what_says_nothing_is_taken(built):
    """Keras's own defaults, and a validation of another kind than the training."""
    nothing = {"sample_weight": None, "class_weight": None, "validation_split": 0.0}
    built.fit(
        ARRAYS, batch_size=BATCH, validation_data=DATA, steps_per_epoch=2, verbose=0, **nothing
    )
    built.fit(views(), batch_size=None, shuffle=True, validation_data=ARRAYS, verbose=0)


def test_arrays_are_shuffled_as_keras_does(built):
    """Which examples share a batch is seen in the loss of images that are all different."""
    start = built.get_weights()

    def losses(seed, **kwargs):
        built.set_weights(start)
        keras.utils.set_random_seed(seed)
        return built.fit(ARRAYS, batch_size=BATCH, verbose=0, **kwargs).history["loss"]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)
    assert losses(1, shuffle=False) == losses(2, shuffle=False)
