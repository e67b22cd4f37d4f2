"""Float images outside 0..1 stop whatever would train on them, wherever they stand."""

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

import sogclr_tf
from sogclr_tf.data import pixel_range
from sogclr_tf.data.refusal import line_of
from sogclr_tf.data.sources.readable import clear_errors
from sogclr_tf.data.sources.subset import subset

N, SIDE, WRONG = 80, 6, 70


def floats(value=None, side=SIDE):
    """Images of noise; one behind those that are looked at beforehand has a wrong pixel."""
    images = np.random.default_rng(0).random((N, side, side, 3), np.float32)
    if value is not None:
        images[WRONG, 1, 2, 0] = value
    return images


def data(images):
    return tf.data.Dataset.from_tensor_slices((images, np.zeros(N, int)))


def checked(data):
    return data.map(lambda images, index: pixel_range.checked(images, index, "x"))


def keep(image, seed):  # noqa: ARG001
    return image


OUTSIDE = {
    255.0: "divide by 255, or give uint8",
    -0.2: "scale or clip to 0..1",
    1.05: "scale or clip to 0..1",
    float("nan"): "mend such images or leave them out",
    float("inf"): "mend such images or leave them out",
}


@pytest.mark.parametrize(("value", "advice"), OUTSIDE.items(), ids=map(str, OUTSIDE))
def test_arrays_and_pipelines_say_the_same(value, advice):
    images, index = floats(value), np.arange(N)
    with pytest.raises(ValueError, match=f"example {WRONG} of x has the value .*{advice}") as array:
        pixel_range.check_array(images, "x")
    with pytest.raises(tf.errors.InvalidArgumentError) as pipeline:
        list(checked(tf.data.Dataset.from_tensor_slices((images, index)).batch(16)))
    assert line_of(pipeline.value) == str(array.value)


@pytest.mark.parametrize(
    ("dtype", "value", "stated"),
    [
        (ml_dtypes.bfloat16, np.nan, None),
        (ml_dtypes.bfloat16, 5, None),
        (np.float16, np.inf, (0, 1e5)),
        (np.float16, 0.0999, (0.1, 1)),
    ],
)
def test_arrays_of_2_bytes(dtype, value, stated):
    images = np.full((2, 4, 4, 3), 0.5, dtype)
    images[1, 2, 2] = value
    with pytest.raises(ValueError, match="example 1 of x has the value"):
        pixel_range.check_array(images, "x", value_range=stated)


def test_half_floats_one_by_one():
    data = tf.data.Dataset.from_tensor_slices((floats(300.0).astype(np.float16), np.arange(N)))
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"example {WRONG} .* value 300, "):
        list(checked(data))


def test_rounding_passes():
    images = floats()
    images[3, 0, 0] = [-pixel_range.SLACK / 2, 1 + pixel_range.SLACK / 2, 1]
    pixel_range.check_array(images, "x")
    whole = tf.data.Dataset.from_tensors(images)
    got = next(iter(whole.map(lambda x: pixel_range.checked(x, tf.range(N), "x"))))
    np.testing.assert_array_equal(got, images)


def test_bytes_pass_untouched():
    images = tf.constant(floats() * 255, tf.uint8)
    assert pixel_range.checked(images, tf.range(N), "x") is images


# Small images are worked on by several at once, others and a function's one by one.
@pytest.mark.parametrize(
    ("side", "policy"),
    [
        (SIDE, sogclr_tf.Policy(size=SIDE, jitter=0, grayscale=0)),
        pytest.param(
            300,
            sogclr_tf.Policy(size=SIDE, min_area=0.1, max_aspect=1, jitter=0, grayscale=0),
            marks=pytest.mark.slow(reason="large images, and XLA's compilation"),
        ),
        (SIDE, keep),
    ],
    ids=["together", "one by one", "function"],
)
def test_one_pixel_of_a_data_set(side, policy):
    views = sogclr_tf.training_views(data(floats(float("nan"), side)), batch_size=8, policy=policy)
    with (
        pytest.raises(ValueError, match=rf"^example {WRONG} of the data set has the value nan, "),
        clear_errors(views.source),
    ):
        list(views.epoch(0))


def test_a_part_of_a_data_set():
    source = subset(sogclr_tf.DatasetSource(data(floats(255.0))), 95)
    kept = [int(example["index"]) for example in source.examples()]
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"example {WRONG} of"):
        list(source.images_and_labels()[0])
    assert WRONG in kept


def test_what_evaluation_reads():
    images, _ = sogclr_tf.evaluation_set(sogclr_tf.DatasetSource(data(floats(255.0))), SIDE)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"example {WRONG} of the data set"):
        list(images)


def test_views_by_a_function():
    def bright(image, seed):  # noqa: ARG001
        return tf.cast(image, tf.float32)

    images = np.full((8, SIDE, SIDE, 3), 200, np.uint8)
    views = sogclr_tf.training_views(images, batch_size=4, policy=bright)
    with (
        pytest.raises(
            ValueError, match=r"^example \d of view_a has the value 200, .*: divide by 255"
        ),
        clear_errors(views.source),
    ):
        list(views.epoch(0))
