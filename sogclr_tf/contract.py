"""The contract between a training stream and a model, checked before hours are spent."""

import contextlib
import re

import numpy as np
import tensorflow as tf

from sogclr_tf.data import Views

_GUARD = ", the table of the loss: give the loss a larger num_examples, or mend the stream"
_KEYS = ("view_a", "view_b", "index")


def unpack(data):
    """The batch dictionary from what Keras hands to a step: it may wrap it in a tuple."""
    return data[0] if isinstance(data, tuple) else data


def check_stream(x, objective, strategy):
    """Raises ValueError unless x fits the contract of `sogclr_tf.data`.

    Args:
        x: `Views`, a tf.data.Dataset or a dictionary of arrays.
        objective: whose table the indices must fit; None if no table takes part.
        strategy: the global batch must divide into its replicas.
    """
    if isinstance(x, Views):
        _check_table(x.num_examples, objective, x.source.name)
        _check_batch(x.batch_size, strategy)
        return
    elements = x.element_spec if isinstance(x, tf.data.Dataset) else x
    elements = unpack(elements)
    if not isinstance(elements, dict) or any(key not in elements for key in _KEYS):
        found = sorted(elements) if isinstance(elements, dict) else type(elements).__name__
        raise ValueError(
            f"training elements are {found}: expected a dictionary with {', '.join(_KEYS)}, as "
            "sogclr_tf.training_views makes it"
        )
    for key in ("view_a", "view_b"):
        _check_view(key, elements[key])
    _check_index(elements["index"], objective)
    if isinstance(x, tf.data.Dataset):
        _check_batch(elements["index"].shape[0], strategy)


def check_encoder(elements, encoder):
    """Raises ValueError where the encoder was built for images of another shape."""
    expected = getattr(encoder, "input_shape", None)
    found = unpack(elements)["view_a"].shape
    if expected is not None and not found.is_compatible_with(expected):
        raise ValueError(
            f"the encoder takes images {tuple(expected)}, but the views are {tuple(found)}: build "
            f"it with input_shape={tuple(found[1:])}"
        )


def check_initial_step(initial_step, x, kwargs):
    """Raises ValueError where a step to go on from has no meaning."""
    if initial_step is None:
        return
    if not isinstance(x, Views):
        raise ValueError(
            f"initial_step={initial_step} is for sogclr_tf.training_views: skip the steps of your "
            "own stream yourself and leave it out"
        )
    if initial_step != int(initial_step) or initial_step < 0:
        raise ValueError(f"initial_step is {initial_step}: expected a whole number >= 0")
    if "initial_epoch" in kwargs:
        raise ValueError("initial_step and initial_epoch were both given: pass one of them")


def check_execution(steps_per_epoch, taken, steps_per_execution, strategy):
    """Raises ValueError where Keras's loop over several steps would fail or overrun an epoch.

    Args:
        steps_per_epoch: int, or None where the end of the data ends the epoch.
        taken: steps of the first epoch that are behind.
        steps_per_execution: steps that Keras takes in one go.
        strategy: the tf.distribute strategy of the model.
    """
    collective = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
    replicas = strategy.num_replicas_in_sync
    if steps_per_execution > 1 and replicas > 1 and isinstance(strategy, collective):
        raise ValueError(
            f"steps_per_execution is {steps_per_execution} on {replicas} replicas of "
            f"{type(strategy).__name__}: its collectives fail in Keras's loop over several steps, "
            "so leave it at 1 (one device and TPUs can have more)"
        )
    if steps_per_epoch is None:
        return
    if steps_per_epoch % steps_per_execution:
        possible = [n for n in range(1, steps_per_epoch + 1) if steps_per_epoch % n == 0]
        raise ValueError(
            f"steps_per_execution {steps_per_execution} does not divide the {steps_per_epoch} "
            f"steps of an epoch: choose one of {', '.join(map(str, possible))}"
        )
    if taken % steps_per_execution:
        raise ValueError(
            f"{taken} steps of the epoch are behind, and steps_per_execution "
            f"{steps_per_execution} does not divide them: resume with what the run had"
        )


def guard_indices(dataset, objective):
    """The same stream, which stops at an index outside the objective's table.

    The check runs on the host, in tf.data: on an accelerator such an index would be ignored.
    `clear_errors` makes its error readable.
    """
    if not objective.has_table:
        return dataset
    size = objective.num_examples

    def guard(elements):
        index = tf.cast(unpack(elements)["index"], tf.int64)
        outside = (index < 0) | (index >= size)
        # The first wrong index, or any right one, which is not shown.
        named = index[tf.argmax(tf.cast(outside, tf.int32))]
        message = tf.strings.format(
            f"index {{}} of the stream is outside [0, {size}){_GUARD}", named
        )
        with tf.control_dependencies([tf.debugging.Assert(~tf.reduce_any(outside), [message])]):
            return tf.nest.map_structure(tf.identity, elements)

    guarded = dataset.map(lambda *parts: guard(parts[0] if len(parts) == 1 else parts))
    return guarded.prefetch(tf.data.AUTOTUNE)


@contextlib.contextmanager
def clear_errors():
    """Raises what `guard_indices` found as a ValueError of one line."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = re.search(rf"index -?\d+ of the stream .*{_GUARD}", str(error))
        if found is None:
            raise
        raise ValueError(found.group()) from None


def _check_view(key, view):
    rank = len(view.shape)
    dtype = tf.as_dtype(view.dtype)
    if rank != 4 or not (dtype == tf.uint8 or dtype.is_floating):
        raise ValueError(
            f"{key} is {dtype.name} {tuple(view.shape)}: expected batches [B, H, W, 3], uint8 or "
            "float in 0..1"
        )


def _check_index(index, objective):
    dtype = tf.as_dtype(index.dtype)
    if len(index.shape) != 1 or not dtype.is_integer:
        raise ValueError(
            f"index is {dtype.name} {tuple(index.shape)}: expected whole numbers [B], the place of "
            "each example in the training set"
        )
    if isinstance(index, np.ndarray) and index.size and objective is not None:
        if index.min() < 0:
            raise ValueError(f"index {index.min()} is negative: expected [0, num_examples)")
        _check_table(int(index.max()) + 1, objective, "the training set")


def _check_table(num_examples, objective, name):
    if objective is not None and objective.has_table and num_examples > objective.num_examples:
        raise ValueError(
            f"{name} has indices up to {num_examples - 1}, but the loss has a table for "
            f"{objective.num_examples} examples: give it num_examples={num_examples}"
        )


def _check_batch(batch_size, strategy):
    replicas = strategy.num_replicas_in_sync if strategy else 1
    if batch_size is None:
        return
    if batch_size < 2:
        raise ValueError(f"the batch holds {batch_size} example: at least 2 are needed to contrast")
    if batch_size % replicas:
        raise ValueError(
            f"batch size {batch_size} does not divide into {replicas} replicas: "
            f"take a multiple of {replicas}"
        )
