"""What stops a tf.data pipeline with a line of ours, and finds it in what TensorFlow says."""

import re
from collections.abc import Callable

import tensorflow as tf

_BEGIN, _END = "<<", ">>"


def unless(good: tf.Tensor, message: Callable[[], tf.Tensor], value: tf.Tensor) -> tf.Tensor:
    """`value`; the pipeline stops with InvalidArgumentError unless `good`.

    Args:
        good: bool scalar.
        message: function that gives a scalar string, one line; it runs where `good` is false.
        value: tensor, or a structure of tensors.
    """

    def stop():
        line = tf.strings.join([_BEGIN, message(), _END])
        return tf.debugging.Assert(False, [line])

    with tf.control_dependencies([tf.cond(good, tf.no_op, stop)]):
        return tf.nest.map_structure(tf.identity, value)


def line_of(error: Exception) -> str | None:
    """The line by which `unless` stopped a pipeline; None of any other error."""
    found = re.search(f"{_BEGIN}(.*?){_END}", str(error), flags=re.S)
    return found.group(1) if found else None
