"""What users bring is converted as tf.data would convert it, and this package is left as it is."""

import pathlib
import traceback

import numpy as np
import pytest
import tensorflow as tf

import sogclr_tf
from sogclr_tf.data.evaluation_images import evaluation_sample, evaluation_set

TRACED = pytest.mark.slow(reason="the same code on another way, traced anew")
N, SIDE = 6, 4
# (file, name) of all functions that were being traced when one of the user's was called.
seen = set()


@tf.autograph.experimental.do_not_convert
def note():
    seen.update((pathlib.Path(at.filename).name, at.name) for at in traceback.extract_stack())


class Dimmed(sogclr_tf.Source):
    """Image i is of i + 1, halved where i is odd, by conditions and loops of Python on tensors."""

    def __init__(self):
        super().__init__("dimmed", N, image_size=(SIDE, SIDE), labeled=True)

    def examples(self, seed=None, first=0):  # noqa: ARG002
        def example(row):
            label = row
            if row > 3:
                label = 0
            return {"image": row, "index": row, "label": label}

        return tf.data.Dataset.range(N, output_type=tf.int32).skip(first).map(example)

    def decode(self, image):
        value = image
        for _ in tf.range(image // image if image > 0 else 0):
            value += 1
        if image == 0:
            value = 1
        return tf.fill([SIDE, SIDE, 3], tf.cast(halved(value), tf.uint8))


def halved(value):
    """Called by a method, so that it must be converted too."""
    if value % 2 == 0:
        return value // 2
    return value


def brightened(image, seed):  # noqa: ARG001
    note()
    if image[0, 0, 0] > 2:
        image = image + 100
    return tf.ensure_shape(image, [SIDE, SIDE, 3])


IMAGES = [1, 1, 3, 2, 5, 3]
VIEWS = [1, 1, 103, 2, 105, 103]


@pytest.fixture(scope="module")
def views():
    return sogclr_tf.training_views(Dimmed(), batch_size=2, policy=brightened)


def colors(images):
    return [int(image[0, 0, 0]) for image in images]


def test_policies_and_sources_of_users(views):
    (epoch,) = views.epoch(0).batch(3).as_numpy_iterator()
    assert colors(epoch["view_a"].reshape(N, SIDE, SIDE, 3)) == VIEWS
    assert epoch["label"].ravel().tolist() == [0, 1, 2, 3, 0, 0]


@TRACED
def test_samples(views):
    originals, first, _ = views.samples(N)
    assert (colors(originals), colors(first)) == (IMAGES, VIEWS)


@TRACED
@pytest.mark.parametrize("made", [evaluation_set, lambda *of: evaluation_sample(*of, count=N)])
def test_evaluation(made):
    images, labels = made(Dimmed(), SIDE)
    shown = [round(255 * float(image[0, 0, 0])) for image in images.as_numpy_iterator()]
    assert (shown, labels.tolist()) == (IMAGES, [0, 1, 2, 3, 0, 0])


def test_the_package_is_not_converted():
    seen.clear()
    array = np.zeros([N, SIDE, SIDE, 3], np.uint8)
    views = sogclr_tf.training_views(array, batch_size=2, policy=brightened)
    seen.clear()
    views.stream()
    assert ("drawing.py", "views") in seen
    generated = {name for file, name in seen if file.startswith("__autograph_generated_file")}
    assert generated == {"tf__brightened"}


def test_called_eagerly_it_is_the_users_own():
    assert colors([Dimmed().decode(tf.constant(5))]) == [3]
    assert Dimmed.decode.__name__ == "decode"
