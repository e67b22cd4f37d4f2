"""The per-example table: one float32 for every training example, in log space.

Of images with several captions a batch's index is int [b, 2], in each row the image and the
caption; a table has rows of one or the other, and takes its own column.
"""

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


def check_num_captions(num_captions: int | None, num_examples: int) -> None:
    """Raises ValueError unless so many images can have so many captions, or None, one each."""
    if num_captions is not None and (
        num_captions != int(num_captions) or num_captions < num_examples
    ):
        raise ValueError(
            f"num_captions is {num_captions}: it must be a whole number >= num_examples, "
            f"{num_examples}, as every image has a caption; leave it out where each has one"
        )


def add_table(
    layer: keras.layers.Layer,
    num_examples: int,
    name: str,
    initial: float = NEVER_VISITED,
    *,
    of_captions: bool = False,
) -> keras.Variable:
    """Gives `layer` a table [num_examples] of float32, every entry `initial`.

    A Keras weight, so that checkpoints, `.weights.h5` and `.keras` files all keep it; without
    autocast, because under mixed precision an autocast variable cannot be updated in place. It is
    one of the loss's `tables`, whose rows go with their examples where a collection grows.

    Args:
        layer: the loss.
        num_examples: how many rows.
        name: of the weight.
        initial: what the rows begin as.
        of_captions: whether a row is of a caption, where images may have several.
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
    table.of_captions = of_captions
    return table


def has_captions(table: keras.Variable) -> bool:
    """Whether a row of the table is of a caption."""
    return getattr(table, "of_captions", False)


def rows_of(table: keras.Variable, index: tf.Tensor) -> tf.Tensor:
    """The rows of a table that `index` means: int32 [b], of int [b] or [b, 2]."""
    index = tf.cast(index, tf.int32)
    if index.shape.rank == 2:
        return index[:, 1 if has_captions(table) else 0]
    if has_captions(table):
        raise ValueError(
            f"index has shape {tuple(index.shape)}, but the loss has a row for each caption: give "
            "[B, 2], the image and the caption"
        )
    return index


def read(table: keras.Variable, index: tf.Tensor) -> tf.Tensor:
    """The entries of `index`, int [b] or [b, 2]: float32 [b].

    An index outside the table raises ValueError in eager code and reads NaN in a graph: there an
    accelerator would clamp it in silence, while a NaN reaches the loss and stops training.
    """
    index = rows_of(table, index)
    size = table.shape[0]
    inside = (index >= 0) & (index < size)
    if tf.executing_eagerly() and not tf.reduce_all(inside):
        wrong = int(tf.boolean_mask(index, ~inside)[0])
        of, argument = ("caption_", "num_captions") if has_captions(table) else ("", "num_examples")
        raise ValueError(
            f"{of}index {wrong} is outside [0, {size}): give {argument}={wrong + 1} or more"
        )
    return tf.where(inside, tf.gather(table.value, tf.clip_by_value(index, 0, size - 1)), math.nan)


def write(table: keras.Variable, index: tf.Tensor, entries: tf.Tensor) -> None:
    """Sets the entries of `index`, at a cost that does not depend on the table's size.

    Under a strategy every replica writes the same gathered rows into its own copy. The raw scatter
    is the one form that works on replicas, across workers and under XLA: it writes to this
    replica's resource and asks no strategy for an aggregation.

    Args:
        table: as made by `add_table`.
        index: int [B] or [B, 2], the global batch. Of an example that occurs more than once, the
            first occurrence is kept, on every device alike.
        entries: float32 [B].
    """
    index = rows_of(table, index)
    same = index[:, tf.newaxis] == index[tf.newaxis, :]
    first = tf.argmax(tf.cast(same, tf.int8), axis=1, output_type=tf.int32)
    tf.raw_ops.ResourceScatterUpdate(
        resource=table.value.handle, indices=index, updates=tf.gather(entries, first)
    )


def record(index: tf.Tensor, entries: Sequence[tuple[keras.Variable, tf.Tensor]]) -> None:
    """Stores the rows of the global batch in their tables, on every replica.

    Args:
        index: int [b] or [b, 2], this replica's examples.
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
