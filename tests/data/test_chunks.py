"""Small examples that are worked on together are those that come one by one."""

import numpy as np
import pytest
import tensorflow as tf

import sogclr_tf
from sogclr_tf.data import augment
from sogclr_tf.data.chunks import mapped

# More than are taken at once, and no multiple of it.
N = 37


@pytest.mark.parametrize("together", [1, 4, N, N + 1])
def test_as_map_gives_them(together):
    def function(example):
        return {"double": 2 * example["x"], "shape": tf.fill(tf.shape(example["text"]), 7)}

    elements = {"x": np.arange(N, dtype=np.int32), "text": [f"{k}" for k in range(N)]}
    dataset = tf.data.Dataset.from_tensor_slices(elements)
    found, want = mapped(dataset, function, together), dataset.map(function)
    assert found.element_spec == want.element_spec
    assert list(found.as_numpy_iterator()) == list(want.as_numpy_iterator())


# Images of which 16, 4 and 1 are fetched at once.
@pytest.mark.parametrize("side", [8, 288, 720])
def test_examples_of_an_array_are_its_rows(side):
    count = 6 if side > 8 else N
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    source = sogclr_tf.ArraySource(images, labels=np.arange(count) % 5)
    first = 2
    examples = source.examples(seed=3, first=first)
    assert examples.element_spec["image"].shape == images.shape[1:]
    found = list(examples.as_numpy_iterator())
    assert len({int(example["index"]) for example in found}) == count - first
    for example in found:
        np.testing.assert_array_equal(example["image"], images[example["index"]])
        assert example["label"] == example["index"] % 5


def test_parts_are_those_of_each_image():
    images = np.random.default_rng(0).random((5, 9, 11, 4), dtype=np.float32)
    boxes = np.array([[0, 0, 9, 11], [2, 3, 1, 1], [8, 10, 1, 1], [0, 4, 5, 7], [3, 0, 6, 2]])
    boxes = tf.constant(boxes, tf.int32)
    found = augment.parts(tf.unstack(images), boxes)
    for image, box, part in zip(images, boxes, found, strict=True):
        np.testing.assert_array_equal(part, augment.part(image, box))
