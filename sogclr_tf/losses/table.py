"""The per-example table: one float32 for every training example, in log space."""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from sogclr_tf.losses import replica

NEVER_VISITED = -math.inf


def check_num_examples(num_examples: int) -> None:
    """Raises ValueError unless a table can have so many entries."""
    if num_examples != int(num_examples) or num_examples < 2:
        raise ValueError(f"num_examples is {num_examples}: it must be a whole number >= 2")


def add_table(
    layer: keras.layers.Layer, num_examples: int, name: str, initial: float = NEVER_VISITED
) -> keras.Variable:
    """Gives `layer` a table [num_examples] of float32, every entry `initial`.

    A Keras weight, so that checkpoints, `.weights.h5` and `.keras` files all keep it; without
    autocast, because under mixed precision an autocast variable cannot be updated in place. It is
    one of the loss's `tables`, whose rows go with their examples where a collection grows.
    """
    table = layer.add_weight(
        name=name,
        shape=(num_examples,),
        dtype="float32",
        # Keras's own constant passes through a second array of the same size.
        initializer=lambda shape, dtype: tf.fill(shape, tf.cast(initial, dtype)),
        trainable=False,
        autocast=False,
    )
    table.initial_row = float(initial)
    return table


def read(table: keras.Variable, index: tf.Tensor) -> tf.Tensor:
    """The entries of `index`: float32 [b].

    An index outside the table raises ValueError in eager code and reads NaN in a graph: there an
    accelerator would clamp it in silence, while a NaN reaches the loss and stops training.
    """
    index = tf.cast(index, tf.int32)
    size = table.shape[0]
    inside = (index >= 0) & (index < size)
    if tf.executing_eagerly() and not tf.reduce_all(inside):
        wrong = int(tf.boolean_mask(index, ~inside)[0])
        raise ValueError(
            f"index {wrong} is outside [0, {size}): give num_examples={wrong + 1} or more"
        )
    return tf.where(inside, tf.gather(table.value, tf.clip_by_value(index, 0, size - 1)), math.nan)


def write(table: keras.Variable, index: tf.Tensor, entries: tf.Tensor) -> None:
    """Sets the entries of `index`, at a cost that does not depend on the table's size.

    Under a strategy every replica writes the same gathered rows into its own copy. The raw scatter
    is the one form that works on replicas, across workers and under XLA: it writes to this
    replica's resource and asks no strategy for an aggregation.

    Args:
        table: as made by `add_table`.
        index: int [B], the global batch. Of an example that occurs more than once, the first
            occurrence is kept, on every device alike.
        entries: float32 [B].
    """
    index = tf.cast(index, tf.int32)
    same = index[:, tf.newaxis] == index[tf.newaxis, :]
    first = tf.argmax(tf.cast(same, tf.int8), axis=1, output_type=tf.int32)
    tf.raw_ops.ResourceScatterUpdate(
        resource=table.value.handle, indices=index, updates=tf.gather(entries, first)
    )


def record(index: tf.Tensor, entries: Sequence[tuple[keras.Variable, tf.Tensor]]) -> None:
    """Stores the rows of the global batch in their tables, on every replica.

    Args:
        index: int [b], this replica's examples.
        entries: list of (table, float32 [b]), gathered side by side in one message.
    """
    index = replica.gather(tf.cast(index, tf.int32))
    rows = replica.gather(tf.stack([row for _, row in entries], axis=1))
    for column, (table, _) in enumerate(entries):
        write(table, index, rows[:, column])


def moving_average(log_u: tf.Tensor, log_g: tf.Tensor, gamma: float | tf.Tensor) -> tf.Tensor:
    """log((1 - gamma) u + gamma g), or log g where u was never visited: float32 like `log_g`.

    The estimate of eq. (5) in arXiv 2202.12387, with the first visit decided for each example.

    Args:
        log_u: float32, the entries before; -inf where never visited.
        log_g: float32, what this batch gives.
        gamma: float32 scalar in (0, 1], the weight of this batch.
    """
    # At gamma = 1, log(1 - gamma) is -inf: the old entry is forgotten, as it should be.
    averaged = log_add(tf.math.log1p(-gamma) + log_u, tf.math.log(gamma) + log_g)
    return tf.where(tf.math.is_inf(log_u), log_g, averaged)


def log_add(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """log(exp(x) + exp(y)), exact for -inf: float32 like the inputs."""
    largest = tf.maximum(x, y)
    safe = tf.where(tf.math.is_inf(largest), tf.zeros_like(largest), largest)
    return safe + tf.math.log(tf.exp(x - safe) + tf.exp(y - safe))
