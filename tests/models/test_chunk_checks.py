"""What a batch in chunks cannot be, and what it says of itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.chunked import ARRAYS, fit, model
from support.small_model import views

from sogclr_tf.models import chunk_checks
from sogclr_tf.models.division import Division

AGAIN = pytest.mark.slow(reason="the same on another value")


class Noise(keras.layers.Layer):
    """Draws as `how` says."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.generator = tf.random.Generator.from_seed(1)
        self.count = tf.Variable(0.0, trainable=False)

    def call(self, x, training=False):  # noqa: ARG002
        if self.how == "tensorflow":
            return x + tf.random.normal(tf.shape(x))
        if self.how == "keras":
            return x + keras.random.normal(tf.shape(x))
        if self.how == "generator":
            return x + self.generator.normal(tf.shape(x))
        if self.how == "variable":
            return x * self.count.assign_add(1.0)
        return tf.ensure_shape(tf.numpy_function(np.array, [x], tf.float32), x.shape)


DRAWS, KEEPS = "the encoder draws at random, or runs Python, in ", "the encoder changes "


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("tensorflow", DRAWS + "'.*RandomStandardNormal'"),
        pytest.param("python", DRAWS, marks=AGAIN),
        ("keras", KEEPS + "'.*seed_generator_state.*', which is none of its weights"),
        pytest.param("generator", KEEPS, marks=AGAIN),
        pytest.param("variable", KEEPS, marks=AGAIN),
    ],
)
def test_what_could_not_be_encoded_again_is_refused(how, said):
    with pytest.raises(ValueError, match=f"{said}.*chunks=2 cannot .*") as caught:
        fit(model(2, Noise(how)))
    assert "\n" not in str(caught.value)


DATA = tf.data.Dataset.from_tensor_slices(ARRAYS)


@pytest.mark.parametrize(
    ("chunks", "data", "options", "said"),
    [
        (3, views(), {}, "batch size 8 does not divide into 3 chunks: take a multiple of 3"),
        (3, ARRAYS, {"batch_size": 8}, "a batch of the 24 examples holds 8: .*of the 3 chunks, so"),
        (9, ARRAYS, {"batch_size": 9}, "the last batch of the 24 examples holds 6: .*the 9 chunks"),
        (4, DATA.batch(9), {}, "a batch holds 9 examples: expected .*a multiple of the 4 chunks"),
    ],
)
def test_batches_that_do_not_divide_are_refused(chunks, data, options, said):
    with pytest.raises(ValueError, match=said):
        model(chunks).fit(data, verbose=0, **options)


def test_the_parts_of_a_batch_in_words():
    """On replicas each takes its share in chunks."""
    division = Division(replicas=2, chunks=4)
    assert [division.fits(count) for count in (1, 4, 8, 12, 16)] == [
        False,
        False,
        True,
        False,
        True,
    ]
    assert division.need.endswith("a multiple of 8, for 4 chunks on each of 2 replicas")
    assert Division().need == "at least 2 are needed to contrast"


def test_a_batch_of_ones_own_step_is_refused_too():
    with pytest.raises(ValueError, match="a batch of 24 examples does not divide into 5 chunks"):
        model(5).train_step({key: tf.constant(array) for key, array in ARRAYS.items()})


@pytest.mark.parametrize("chunks", [0, -1, 1.5, True, "2"])
def test_a_number_that_is_none_is_refused(chunks):
    with pytest.raises(ValueError, match=f"chunks is {chunks!r}: expected a whole number >= 1"):
        model(chunks)


def test_batch_statistics_of_a_chunk_are_warned_of(caplog):
    norm = keras.layers.BatchNormalization(synchronized=True, name="of_batch")
    chunk_checks.warn_of_batch_norm(model(2, norm))
    assert "1 trainable BatchNormalization layers (of_batch) take statistics of one" in caplog.text
    caplog.clear()
    chunk_checks.warn_of_batch_norm(model(2))
    chunk_checks.warn_of_batch_norm(model(1, keras.layers.BatchNormalization()))
    assert caplog.text == ""
