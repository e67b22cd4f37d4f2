"""What a replica must know of the others: the global batch, with gradients."""

import tensorflow as tf


def gather(values: tf.Tensor) -> tf.Tensor:
    """The rows of every replica, in replica order.

    Args:
        values: [b, ...], this replica's rows; every replica holds as many.

    Returns:
        [B, ...] with B = b * replicas. The gradient of each row flows back to the replica that
        holds it, summed over the replicas that used it.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return values
    # MultiWorkerMirroredStrategy refuses to gather a direct input of the step
    # ("destinations can not be empty"); an identity is no direct input.
    return context.all_gather(tf.identity(values), axis=0)


def mean(values: tf.Tensor) -> tf.Tensor:
    """The mean of all replicas' values: a scalar, the same on every replica."""
    context = tf.distribute.get_replica_context()
    local = tf.reduce_mean(values)
    if context.num_replicas_in_sync == 1:
        return local
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, local)


def count() -> int:
    """The number of replicas that share the global batch."""
    return tf.distribute.get_replica_context().num_replicas_in_sync


def first_row(local_batch: int | tf.Tensor) -> tf.Tensor:
    """Where this replica's rows start in the gathered batch: int32 []."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.cast(replica, tf.int32) * local_batch


def on_tpu() -> bool:
    """Whether this replica is a core of a TPU."""
    context = tf.distribute.get_replica_context()
    return context is not None and isinstance(context.strategy, tf.distribute.TPUStrategy)
