"""Parts of a graph that stay functions of their own."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def outlined(function: Callable) -> Callable:
    """The function as one node, where it is called in a branch that few images take.

    TensorFlow goes through all nodes of a branch that is not taken: through one, then.

    Args:
        function: of a scalar string, such as the bytes of a file.
    """
    node = _node(function, [tf.TensorSpec([], tf.string)])

    @functools.wraps(function)
    def call(text):
        # Outside of a graph an error says more without the node.
        return function(text) if tf.executing_eagerly() else node(text)

    return call


def called(function: Callable, *tensors: tf.Tensor) -> Any:
    """What a function gives of tensors, as `outlined` calls it."""
    return function(*tensors) if tf.executing_eagerly() else _node(function)(*tensors)


def _node(function, signature=None):
    return tf.function(
        function,
        input_signature=signature,
        autograph=False,
        experimental_attributes={"_noinline": True},
    )
