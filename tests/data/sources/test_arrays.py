"""Sources of arrays."""

import numpy as np
import pytest
import tensorflow as tf
from support.thirty_images import N, images, indices, labels

from sogclr_tf import (
    ArraySource,
)


class TestArraySource:
    @pytest.mark.parametrize(
        ("stored", "stated", "channels"),
        [(1, None, 3), (1, 1, 1), (1, 3, 3), (2, None, 2), (3, 3, 3), (4, None, 4), (13, 13, 13)],
    )
    def test_channels(self, stored, stated, channels):
        """As they are stored, a fourth one too; but gray is repeated unless 1 was stated."""
        pictures = images(channels=stored)
        source = ArraySource(pictures, channels=stated)
        got = list(source.images_and_labels()[0].as_numpy_iterator())
        assert source.pixel_format.channels == channels
        np.testing.assert_array_equal(got, np.broadcast_to(pictures, (N, 6, 5, channels)))

    @pytest.mark.parametrize(("stored", "stated"), [(4, 3), (2, 3), (3, 1), (1, 2), (13, 12)])
    def test_other_channels_than_stated(self, stored, stated):
        with pytest.raises(
            ValueError, match=f"the array have {stored} channels: expected {stated};"
        ):
            ArraySource(images(channels=stored), channels=stated)

    @pytest.mark.parametrize("channels", [0, -1, 2.5, "3", True])
    def test_channels_that_are_none(self, channels):
        with pytest.raises(ValueError, match=r"channels is .*: expected a whole number >= 1"):
            ArraySource(images(), channels=channels)

    def test_gray_without_a_channel_axis(self):
        pictures = images()[..., 0]
        source = ArraySource(pictures)
        assert source.image_size == (6, 5)
        got = np.stack(list(source.images_and_labels()[0].as_numpy_iterator()))
        np.testing.assert_array_equal(got, np.stack([pictures] * 3, axis=-1))

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_floats_become_float32(self, dtype):
        pictures = (images() / 255).astype(dtype)
        got = next(iter(ArraySource(pictures).images_and_labels()[0]))
        assert got.dtype == tf.float32
        np.testing.assert_array_equal(got, pictures[0].astype(np.float32))

    def test_without_labels(self):
        source = ArraySource(images())
        assert not source.labeled
        assert source.images_and_labels()[1] is None
        assert sorted(source.examples().element_spec) == ["image", "index"]

    def test_one_image(self):
        assert indices(ArraySource(images(1)), seed=4) == [0]

    def test_every_order_of_few(self):
        """All 6 orders of 3, each about as often: 600 passes over three seeds."""
        source = ArraySource(images(3))
        pictures = tf.data.Dataset.range(600).map(lambda k: (k % 3) * 2**32 + k)
        orders = pictures.flat_map(lambda k: source.examples(k).batch(3).map(lambda e: e["index"]))
        _, counts = np.unique(list(orders.as_numpy_iterator()), axis=0, return_counts=True)
        assert len(counts) == 6
        assert (np.abs(counts - 100) < 5 * np.sqrt(100)).all()

    @pytest.mark.parametrize("shape", [(4,), (4, 5), (4, 5, 5, 3, 1)])
    def test_shape(self, shape):
        with pytest.raises(
            ValueError, match=r"the array has shape .* \[N, H, W, C\] or \[N, H, W\]"
        ):
            ArraySource(np.zeros(shape, np.uint8))

    @pytest.mark.parametrize("shape", [(0, 5, 5, 3), (4, 0, 5, 3)])
    def test_empty(self, shape):
        with pytest.raises(ValueError, match="the array is empty: its shape is"):
            ArraySource(np.zeros(shape, np.uint8))

    @pytest.mark.parametrize("dtype", [np.int32, np.uint32, bool, object])
    def test_dtype(self, dtype):
        with pytest.raises(
            ValueError, match="of the array are .* expected uint8, uint16, int16 or"
        ):
            ArraySource(np.zeros((4, 5, 5, 3), dtype))

    @pytest.mark.parametrize("value", [-0.1, 255.0, float("nan")])
    def test_range(self, value):
        pictures = np.zeros((4, 5, 5, 3), np.float32)
        pictures[2, 1] = value
        with pytest.raises(ValueError, match=rf"example 2 of the array has the value {value:g}, "):
            ArraySource(pictures)

    @pytest.mark.parametrize("wrong", [np.zeros(N - 1, int), np.zeros((N, 7), int), np.zeros(N)])
    def test_labels(self, wrong):
        with pytest.raises(ValueError, match=rf"labels of the array are .* numbers \[{N}\]"):
            ArraySource(images(), wrong)

    def test_negative_labels(self):
        with pytest.raises(ValueError, match="labels of the array include -1: expected 0 and up"):
            ArraySource(images(), labels() - 1)

    def test_labels_that_are_too_large(self):
        with pytest.raises(ValueError, match="array include 4294967297: expected at most 21474836"):
            ArraySource(images(2), [0, 2**32 + 1])

    def test_masked_values(self):
        pictures = np.ma.masked_less(images(), 1)
        with pytest.raises(ValueError, match=r"the array has \d+ masked values: fill them"):
            ArraySource(pictures)
        assert ArraySource(pictures.filled(0)).size == N
