"""Training views of few small images, and their batches."""

import numpy as np

from sogclr_tf import Policy, training_views

N, BATCH = 22, 4
COLORFUL = Policy(size=6, blur=0.3, solarize=0.2)
# Quick to trace, where colors are of no interest.
PLAIN = Policy(size=6, jitter=0, grayscale=0)


def images(count=N, height=8, width=7):
    shape = (count, height, width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def views(collection=None, **options):
    collection = images() if collection is None else collection
    return training_views(collection, **{"batch_size": BATCH, "policy": PLAIN, **options})


def take(stream, count=None):
    return list((stream if count is None else stream.take(count)).as_numpy_iterator())


def assert_same(batches, others):
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for key in batch:
            np.testing.assert_array_equal(batch[key], other[key])


def indices(batches):
    return [int(index) for batch in batches for index in batch["index"]]
