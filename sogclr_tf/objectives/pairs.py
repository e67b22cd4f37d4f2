"""The similarities of a global batch, as every objective over two views needs them."""

from typing import NamedTuple

import tensorflow as tf

from sogclr_tf import replica


class Pairs(NamedTuple):
    """Cosine similarities of this replica's 2b anchors: its b views a, then its b views b.

    Attributes:
        positive: float32 [2b], each anchor with the other view of its example.
        negative: float32 [2b, 2B], each anchor with all views of the global batch; -inf where the
            column is the anchor itself or its positive, so that 2(B-1) entries count.
        global_batch: B, an int, or an int32 scalar where the batch is not static.
    """

    positive: tf.Tensor
    negative: tf.Tensor
    global_batch: int | tf.Tensor


def compare(a, b):
    """Normalises raw projections, gathers the replicas' and compares them.

    Args:
        a: float [b, D], this replica's projections of the first views.
        b: float [b, D], of the second views, row by row of the same examples.

    Returns:
        `Pairs`, computed in float32 whatever comes in.

    Raises:
        ValueError: the shapes are not [b, D] twice, or the global batch has fewer than 2 examples.
    """
    _check_shapes(a, b)
    a, b = (tf.math.l2_normalize(tf.cast(x, tf.float32), axis=-1, epsilon=1e-24) for x in (a, b))
    # One gather of both views side by side: half as many messages as two.
    everyone = replica.gather(tf.stack([a, b], axis=1))
    all_a, all_b = everyone[:, 0], everyone[:, 1]
    similarity = tf.matmul(
        tf.concat([a, b], axis=0), tf.concat([all_a, all_b], axis=0), transpose_b=True
    )
    local = a.shape[0] if a.shape[0] is not None else tf.shape(a)[0]
    positive = tf.reduce_sum(a * b, axis=-1)
    return Pairs(
        positive=tf.concat([positive, positive], axis=0),
        negative=tf.where(_own_example(local), -float("inf"), similarity),
        global_batch=local * replica.count(),
    )


def _own_example(local):
    """bool [2b, 2B]: the columns that hold a view of the anchor's own example.

    Replica 1 of 2 with b = 2, so B = 4 (o: own example, masked; the rest are negatives):

                 all a: 0 1 2 3   all b: 0 1 2 3
        a of 2          . . o .          . . o .
        a of 3          . . . o          . . . o
        b of 2          . . o .          . . o .
        b of 3          . . . o          . . . o
    """
    rows = tf.range(local) + replica.first_row(local)
    own = rows[:, tf.newaxis] == tf.range(local * replica.count())[tf.newaxis, :]
    return tf.tile(own, [2, 2])


def _check_shapes(a, b):
    shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
    if a.shape.rank != 2 or b.shape.rank != 2 or not a.shape.is_compatible_with(b.shape):
        raise ValueError(f"projections have shapes {shapes}: expected [B, D] twice")
    if a.shape[0] is not None and a.shape[0] * replica.count() < 2:
        raise ValueError("a batch of 1 example has no negatives: the global batch must be >= 2")
