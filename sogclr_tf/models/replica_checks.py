"""What goes wrong on several replicas alone, said before the first step."""

import logging
from typing import Any

import keras
import tensorflow as tf

from sogclr_tf.models import virtual_batch
from sogclr_tf.models.batch_norm import batch_norms, unsynchronized
from sogclr_tf.models.keras_hooks import layers_below

_LOG = logging.getLogger("sogclr_tf")
# The first strategy of the process whose collectives a model has used.
_trained_on: list[tf.distribute.Strategy] = []


def check_only_strategy(strategy: tf.distribute.Strategy, *, trains: bool = False) -> None:
    """Raises ValueError where another MirroredStrategy has trained a model of this process.

    The collectives of both have the same keys, and TensorFlow keeps the shapes that a key had: the
    second fails in the middle of a step, and whatever comes after it too.

    Args:
        strategy: of a model.
        trains: whether it is to use its collectives from here on.
    """
    if not _has_collectives(strategy):
        return
    if any(strategy is not other for other in _trained_on):
        raise ValueError(
            "another MirroredStrategy of this process has trained a model, and TensorFlow mixes up "
            "the exchanges of two: make one strategy and use it for all models (start Python anew "
            "where it is lost)"
        )
    if trains and not _trained_on:
        _trained_on.append(strategy)


def check_accumulation(steps: int, strategy: tf.distribute.Strategy) -> None:
    """Raises ValueError where Keras would have to accumulate gradients across replicas.

    Also where there is one: Keras updates the weights within a condition, and the strategies that
    mirror variables exchange gradients there, which TensorFlow lets none do.

    Args:
        steps: batches that make one update.
        strategy: of the model.
    """
    replicas = strategy.num_replicas_in_sync
    mirrors = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
    if steps > 1 and (replicas > 1 or isinstance(strategy, mirrors)):
        raise ValueError(
            f"gradient_accumulation_steps is {steps} on {replicas} replica"
            f"{'s' * (replicas > 1)} of {type(strategy).__name__}: Keras accumulates on one device "
            "without a strategy (--strategy=one) alone, so leave it out (a larger batch has more "
            "negatives too, in chunks where it does not fit)"
        )


def check_own_losses(model: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Raises ValueError where replicas would lose losses that layers add of their outputs.

    TensorFlow traces replicas in threads, which take turns wherever a batch normalization exchanges
    or updates its statistics; Keras keeps such losses in the layers, which all threads share.
    """
    threads = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
    replicas = strategy.num_replicas_in_sync
    if replicas == 1 or not isinstance(strategy, threads):
        return
    parts = virtual_batch.encoding_parts(model)
    layers = [layer for part in parts for layer in layers_below(part)]
    adding = [layer for layer in layers if layer.activity_regularizer is not None]
    if adding and any(layer.trainable for part in parts for layer in batch_norms(part)):
        raise ValueError(
            f"layer '{adding[0].name}' has an activity_regularizer beside batch normalization: "
            f"Keras keeps that loss of one of {replicas} replicas alone, so leave it out, or train "
            "on one device"
        )


def check_endless(data: Any, steps_per_execution: int, strategy: tf.distribute.Strategy) -> None:
    """Raises ValueError where a TPU would get batches of a size that is known at run time alone.

    Where data may end, Keras's loop over several steps, and TensorFlow on several hosts, ask for an
    element that may be missing, whose first axis is then unknown. A TPU compiles for static shapes.

    Args:
        data: a tf.data.Dataset or a dictionary of arrays, which end.
        steps_per_execution: steps that Keras takes in one go.
        strategy: of the model.
    """
    if not isinstance(strategy, tf.distribute.TPUStrategy):
        return
    hosts = strategy.extended.num_hosts
    if steps_per_execution == 1 and hosts == 1:
        return
    endless = tf.data.INFINITE_CARDINALITY
    if isinstance(data, tf.data.Dataset) and int(data.cardinality()) == endless:
        return
    several = f"steps_per_execution is {steps_per_execution}"
    raise ValueError(
        f"{several if steps_per_execution > 1 else f'there are {hosts} hosts'} on a TPU, which "
        "compiles for static shapes, with data that end: give dataset.repeat() and say the steps "
        "(steps_per_epoch, validation_steps; steps of evaluate)"
    )


def warn_of_batch_norm(model: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Warns where several replicas would train otherwise than one device, for batch statistics."""
    replicas = strategy.num_replicas_in_sync
    layers = unsynchronized(model) if replicas > 1 else []
    if not layers:
        return
    names = ", ".join(layer.name for layer in layers[:3])
    more = ", ..." if len(layers) > 3 else ""
    _LOG.warning(
        "%d trainable BatchNormalization layers (%s%s) take statistics of one of %d replicas "
        "alone, so that training differs from that on one device: call "
        "sogclr_tf.synchronize_batch_norm(encoder) before fit",
        len(layers),
        names,
        more,
        replicas,
    )


def _has_collectives(strategy: tf.distribute.Strategy) -> bool:
    """Whether it exchanges by collectives, as MirroredStrategy does unless told otherwise."""
    if not isinstance(strategy, tf.distribute.MirroredStrategy):
        return False
    extended = strategy.extended
    return strategy.num_replicas_in_sync > 1 and (
        extended._cross_device_ops is extended._collective_ops
    )
