"""Labeled images of another collection beside a training stream."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from support.small_model import IMAGES, views
from support.streams import traced_once

import sogclr_tf
from sogclr_tf.data import labeled

AGAIN = pytest.mark.slow(reason="the same on another value, traced anew")
OWN = np.random.default_rng(1).integers(0, 256, (20, 8, 8, 3), np.uint8)
LABELS = np.arange(20) % 4


@functools.cache
def stream(replicas=1):
    source = sogclr_tf.ArraySource(OWN, LABELS)
    crops = labeled.crops_and_flips(8)
    return traced_once(labeled.with_labeled(views(batch_size=8), source, crops, replicas))


def batches(stream, first_step, count):
    return list(stream.stream(first_step).take(count).as_numpy_iterator())


def test_the_views_are_as_without():
    plain = views(batch_size=8)
    made = stream()
    assert made.num_examples == plain.num_examples == len(IMAGES)
    for ours, theirs in zip(batches(made, 0, 4), batches(plain, 0, 4), strict=True):
        for key, values in theirs.items():
            np.testing.assert_array_equal(ours[key], values)
        assert ours["probe_image"].shape == (2, 8, 8, 3)
        assert ours["probe_label"].dtype == np.int32


def test_a_resumed_stream_goes_on_with_the_same_images():
    whole, resumed = batches(stream(), 0, 7), batches(stream(), 5, 2)
    for ours, theirs in zip(resumed, whole[5:], strict=True):
        for key in ("probe_image", "probe_label", "index"):
            np.testing.assert_array_equal(ours[key], theirs[key])


def test_every_labeled_image_is_seen_once_in_a_pass():
    seen = [batch["probe_label"] for batch in batches(stream(), 0, 10)]
    assert np.bincount(np.concatenate(seen)).tolist() == [5] * 4


@pytest.mark.parametrize(
    ("replicas", "share"),
    [
        (2, 2),
        pytest.param(1, 2, marks=AGAIN),
        pytest.param(4, 4, marks=AGAIN),
    ],
)
def test_every_replica_has_its_share(replicas, share):
    (batch,) = batches(stream(replicas), 0, 1)
    assert len(batch["probe_label"]) == share
    context = tf.distribute.InputContext(1, 0, replicas)
    own = next(iter(stream(replicas).stream(0, context)))
    assert len(own["probe_label"]) == share // replicas
    assert len(own["index"]) == 8 // replicas


def test_images_without_labels_are_refused():
    with pytest.raises(ValueError, match="has no labels: give one for each image"):
        labeled.with_labeled(views(), OWN, labeled.crops_and_flips(8))
