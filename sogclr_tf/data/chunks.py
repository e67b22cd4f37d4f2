"""Steps of a pipeline on several small examples at once, as tf.data is slow to call a function."""

from collections.abc import Callable

import tensorflow as tf


def mapped(dataset: tf.data.Dataset, function: Callable, together: int) -> tf.data.Dataset:
    """The same as `dataset.map(function)`, of a function that takes any number of examples.

    Args:
        dataset: tf.data.Dataset of elements of one shape, where `together` is above 1.
        function: from an element, or from a batch of them with a new first axis, to what becomes
            of it, with the same first axis.
        together: how many elements to give it; 1 for each by itself.
    """
    if together == 1:
        return dataset.map(function)
    return dataset.batch(together).map(function).unbatch()
