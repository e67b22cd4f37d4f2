"""What the peers are measured against: the work of this package, as `turns.Work`."""

import types

from benchmarks import input as pictures
from benchmarks import loss as losses
from benchmarks import step as training
from benchmarks import turns

import sogclr_tf

UNCOUNTED = 3  # batches of a stream, until its buffers are full


def loss(batch, examples, width):
    """Steps of SogCLR's loss: forward, gradient, table."""
    return turns.steps(losses.sogclr(batch, examples, width), batch)


def step(**options):
    """Steps of SogCLR with LARS, as `fit` takes them; `options` as of `benchmark.py step`."""
    options = types.SimpleNamespace(**options)
    return turns.steps(training.trained(options), options.batch)


def views(size, strength, blur):
    """Batches of the training stream, two views of each image."""
    policy = sogclr_tf.Policy(size, strength=strength, blur=blur)
    stream = sogclr_tf.training_views(source(size), batch_size=pictures.BATCH, policy=policy)
    return batches(stream.stream())


def batches(dataset):
    """`turns.Work` of a data set of batches of `input.BATCH` images."""
    return turns.Work(lambda: iter(dataset), pictures.BATCH, UNCOUNTED)


def source(size):
    """Images of 32x32 in memory for 32, files of photographs for any other size."""
    if size == 32:
        return sogclr_tf.ArraySource(pictures.small_images(4096))
    return pictures.Files(4096)
