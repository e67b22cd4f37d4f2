"""What AutoGraph converts of a pipeline: the code of users, and none of this package.

tf.data hands every function to AutoGraph, which rewrites its source, and that of all that it calls,
so that Python's conditions and loops may depend on tensors. Here none does, and to rewrite what a
training stream consists of takes longer than all else before the first step. What users bring,
policies and sources of their own, is converted as they would expect of tf.data.
"""

import functools
from collections.abc import Callable
from typing import TypeVar

import tensorflow as tf

# The status has no public name.
from tensorflow.python.autograph.core import ag_ctx

_Function = TypeVar("_Function", bound=Callable)


def as_it_stands(function: _Function) -> _Function:
    """A function whose body, and all that it calls or hands to tf.data, is not converted."""
    return tf.autograph.experimental.do_not_convert(function)


def converted(function: Callable) -> Callable:
    """A user's function, as tf.data would take it, though this package calls it.

    Args:
        function: of tensors, traced or called eagerly.
    """

    @as_it_stands
    def call(*args, **kwargs):
        by_default = ag_ctx.ControlStatusCtx(ag_ctx.Status.UNSPECIFIED)
        if tf.executing_eagerly():
            # What it hands to tf.data is traced.
            with by_default:
                return function(*args, **kwargs)
        return tf.__internal__.autograph.tf_convert(function, by_default)(*args, **kwargs)

    return functools.update_wrapper(call, function)
