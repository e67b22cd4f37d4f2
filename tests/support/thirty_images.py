"""Thirty images, in the collections that sources are made of."""

import numpy as np
import tensorflow as tf
from support.files import write_shards

from sogclr_tf import (
    TFRecordSource,
)

N = 30


def images(count=N, channels=3):
    shape = (count, 6, 5, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def labels(count=N):
    return np.arange(count) % 7


def indices(source, seed=None, first=0):
    batches = source.examples(seed, first).map(lambda example: example["index"]).batch(256)
    return [int(index) for batch in batches for index in batch.numpy()]


def dataset(*columns):
    return tf.data.Dataset.from_tensor_slices(columns if len(columns) > 1 else columns[0])


def uncounted(data):
    """The same elements, without a known cardinality."""
    return data.filter(lambda *_: True)


def tfrecords(folder, ids=None, compression="", **options):
    files = write_shards(folder, images(), labels(), ids, compression=compression)
    return TFRecordSource(files, label="image/class/label", **options)
