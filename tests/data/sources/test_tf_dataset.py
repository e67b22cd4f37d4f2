"""Sources of a tf.data.Dataset."""

import numpy as np
import pytest
import tensorflow as tf
from support.thirty_images import N, dataset, images, indices, labels, uncounted

from sogclr_tf import (
    DatasetSource,
)
from sogclr_tf.data.sources.readable import clear_errors


class TestDatasetSource:
    @pytest.mark.parametrize("count", [lambda data: data, uncounted])
    @pytest.mark.parametrize(
        ("data", "labeled"),
        [
            (dataset(images()), False),
            (dataset(images(), labels()), True),
            (dataset({"image": images()}), False),
            (dataset({"image": images(), "label": labels(), "id": labels()}), True),
        ],
        ids=["image", "pair", "dictionary", "labeled dictionary"],
    )
    def test_element_forms(self, data, labeled, count):
        source = DatasetSource(count(data))
        assert (source.size, source.num_examples, source.labeled) == (N, N, labeled)
        pictures, true_labels = source.images_and_labels()
        np.testing.assert_array_equal(list(pictures.as_numpy_iterator()), images())
        if labeled:
            np.testing.assert_array_equal(true_labels, labels())
        assert indices(source) == list(range(N))

    def test_images_of_differing_sizes(self):
        spec = tf.TensorSpec([None, None, 3], tf.uint8)
        pictures = [images()[0, : k + 1] for k in range(4)]
        data = tf.data.Dataset.from_generator(lambda: iter(pictures), output_signature=spec)
        source = DatasetSource(data)
        assert source.size == 4
        assert source.image_size is None
        for got, want in zip(source.images_and_labels()[0], pictures, strict=True):
            np.testing.assert_array_equal(got, want)

    def test_gray(self):
        source = DatasetSource(dataset(images()[..., 0]))
        assert next(iter(source.images_and_labels()[0])).shape == (6, 5, 3)

    def test_a_small_buffer_still_gives_each_once(self):
        order = indices(DatasetSource(dataset(images()), shuffle_buffer=4), seed=0)
        assert sorted(order) == list(range(N))
        assert order != sorted(order)

    def test_endless(self):
        with pytest.raises(ValueError, match=r"endless: .* take\(n\)"):
            DatasetSource(dataset(images()).repeat())

    def test_empty(self):
        with pytest.raises(ValueError, match="the data set is empty"):
            DatasetSource(uncounted(dataset(images())).take(0))

    @pytest.mark.parametrize("data", [dataset(images()).batch(4), dataset(labels())])
    def test_no_single_images(self, data):
        with pytest.raises(ValueError, match=r"elements of the data set are .*use unbatch\(\)"):
            DatasetSource(data)

    def test_dictionary_without_images(self):
        with pytest.raises(ValueError, match=r"keys \['picture'\]: expected 'image'"):
            DatasetSource(dataset({"picture": images()}))

    @pytest.mark.parametrize("wrong", [np.eye(N, dtype=int), np.linspace(0, 1, N)])
    def test_labels(self, wrong):
        with pytest.raises(ValueError, match="labels of the data set are .* whole number each"):
            DatasetSource(dataset(images(), wrong))

    def test_range_of_floats(self):
        pictures = images(100).astype(np.float32) / 255
        pictures[70, 1] = 255
        # Beyond those that are looked at beforehand.
        source = DatasetSource(dataset(pictures))
        with (
            pytest.raises(
                ValueError, match=r"^example 70 .* value 255, .*: divide by 255, or give uint8, or"
            ),
            clear_errors(source),
        ):
            list(source.images_and_labels()[0])
        with pytest.raises(ValueError, match=r"^example 10 of the data set has the value 255, "):
            DatasetSource(dataset(pictures).skip(60))
