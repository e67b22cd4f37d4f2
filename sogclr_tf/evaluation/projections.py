"""The projections of all examples of a model's data."""

import contextlib
import operator
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from sogclr_tf.models import input_checks
from sogclr_tf.models.contrastive import ContrastiveModel

_BATCH = 256


class Projections(NamedTuple):
    """What a loss compares, of N examples.

    Attributes:
        a: float32 [N, D], raw, of the first views or of images.
        b: float32 [N, D], of the second views or of texts.
        index: int [N], each once; with captions [N, 2], the image and the caption, each caption
            once.
    """

    a: np.ndarray
    b: np.ndarray
    index: np.ndarray  # type: ignore[assignment]


def in_batches(data: tf.data.Dataset | dict) -> tf.data.Dataset:
    """A finite tf.data.Dataset of batch dictionaries, of one or of a dictionary of arrays."""
    if isinstance(data, dict):
        data = tf.data.Dataset.from_tensor_slices(data).batch(_BATCH)
    return data.map(lambda *parts: input_checks.unpack(parts))


def projecting(
    model: ContrastiveModel, training: bool = False
) -> Callable[[dict], list[tf.Tensor]]:
    """A compiled function of a batch: the raw projections of both sides, float32 [B, D] each.

    Args:
        model: a `ContrastiveModel`, of which nothing changes.
        training: False for inference mode, in which each depends on its own view alone. True for
            what a training step makes of the batch; moving statistics and states of dropout stay.
    """

    def project(batch):
        # What layers assign to their variables in training is let go with the scope.
        with keras.StatelessScope() if training else contextlib.nullcontext():
            return [tf.cast(side, tf.float32) for side in model.sides(batch, training=training)]

    return tf.function(project, reduce_retracing=True)


def project_all(
    batches: tf.data.Dataset,
    project: Callable,
    count: int | None = None,
    *,
    index_of: Callable[[dict], tf.Tensor] = operator.itemgetter("index"),
) -> Projections:
    """The projections of all the data.

    Args:
        batches: what `in_batches` gives.
        project: what `projecting` gives.
        count: the examples that are wanted, the first ones; None for all.
        index_of: function of a batch, as `ContrastiveModel.index_of`.

    Raises:
        ValueError: an index occurs twice.
    """
    parts: list[tuple] = []
    seen: set[int] = set()
    for batch in batches:
        wanted = slice(None if count is None else count - len(seen))
        parts.append(tuple(rows[wanted] for rows in (*project(batch), index_of(batch))))
        numbers = np.asarray(parts[-1][-1])
        seen.update((numbers if numbers.ndim == 1 else numbers[:, 1]).tolist())
        # A stream without end would show here too, in its second epoch.
        if len(seen) < sum(len(index) for *_, index in parts):
            raise ValueError(
                "an example occurs twice in the data: give each once, such as views.epoch(0)"
            )
    return Projections(*(np.concatenate(column) for column in zip(*parts, strict=True)))
