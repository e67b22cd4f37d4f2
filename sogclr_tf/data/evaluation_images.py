"""Whole images with their labels, for evaluation."""

import numpy as np
import tensorflow as tf

from sogclr_tf.data import augment


def evaluation_set(source, size):
    """(tf.data.Dataset of float32 [size, size, 3] in 0..1, labels int32 [N] or None)."""
    images, labels = source.images_and_labels()
    resized = images.map(
        lambda image: augment.whole(image, size),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return resized, labels


def evaluation_sample(source, size, count, seed=0):
    """As `evaluation_set`, of `count` examples drawn by `seed` (of all where there are fewer).

    What is left out is not decoded, nor read where the source can help it.
    """

    def drawn(_):
        tf.random.set_seed(1)
        return source.examples(tf.constant(seed, tf.int64)).take(count)

    examples = tf.data.Dataset.range(1).flat_map(drawn)
    images = examples.map(
        lambda example: augment.whole(source.decode(source.read(example["image"])), size),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    if not source.labeled:
        return images, None
    labels = examples.map(lambda example: example["label"]).as_numpy_iterator()
    return images, np.fromiter(labels, np.int32)
