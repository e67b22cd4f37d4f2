"""The global objective itself, over all examples: what a small batch can only estimate."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from sogclr_tf.data.stream import Stream
from sogclr_tf.losses import products
from sogclr_tf.losses.similarities import check_negatives
from sogclr_tf.models import examples_check, input_checks, own_batches
from sogclr_tf.models.contrastive import ContrastiveModel


class ExactObjective(NamedTuple):
    """The objective and its gradient.

    Attributes:
        value: F, a float.
        gradient_norm: the Euclidean norm of all of `gradients` together, a float.
        gradients: list of float32 arrays: of the model's `trainable_weights`, in their order and
            without those of the loss; or, where projections were given, of these: [of a, of b],
            each [N, D].
    """

    value: float
    gradient_norm: float
    gradients: list


def exact_global_objective(
    model_or_projections: ContrastiveModel | Sequence[np.ndarray],
    data: Any = None,
    *,
    temperature: float | np.ndarray | None = None,
    negatives: str | None = None,
    block: int = 1024,
) -> ExactObjective:
    """F of arXiv 2202.12387 over all N examples, by comparing each view with every other.

        F = mean over the 2N anchors of [ -<z, z+> + temperature * log g(z) ],
        g(z) = mean over all 2(N-1) negatives z- of exp(<z, z-> / temperature)

    `GlobalContrastiveLoss` estimates F by its value, and twice F's gradient by its gradient. Where
    the model's loss learns temperatures, they are those of by now, held fixed, and rho counts, as
    its epsilon does. Of images and texts (`TwoWayGlobalContrastiveLoss`, whose value and gradient
    estimate F's own; with "unscaled" they estimate F / temperature) each side is told from the
    other alone.

        exact_global_objective(model, views)                    # gradient by the encoder's weights
        exact_global_objective((a, b), temperature=0.1)         # gradient by the projections

    Time grows with the square of N: 50,000 examples of 128 dimensions take minutes on two CPU
    cores. Memory grows with N alone, by the projections and their gradients.

    Args:
        model_or_projections: a `SogCLR` or `TwoTowerSogCLR` model, which is called in inference
            mode, so that each projection depends on its own view alone; or the pair (a, b) of raw
            projections, float [N, D], row by row the two views of the same examples.
        data: with a model, the views of all N examples: a finite tf.data.Dataset or a dictionary of
            arrays, as the model's `fit` takes them, or a stream, for its epoch 0 without the
            examples that fill no batch. It is read twice and must say the same twice.
        temperature: float > 0, or float [N], one for each example in the order of the data, or
            [2N], for the anchors of a and then of b. By default that of the model's loss; needed
            with projections.
        negatives: "both" or "other", as for the losses. By default that of the model's loss, or
            "both".
        block: int >= 1, anchors that are compared at once with as many others.

    Returns:
        `ExactObjective`. The encoder's regularization losses are no part of it.

    Raises:
        ValueError: an argument is missing or out of range, the projections are not [N, D] twice
            with N >= 2, a float image lies outside 0..1, an index occurs twice in the data, the
            data gave other examples when it was read again, or a stream is of others than those
            that the loss learned temperatures of.
    """
    if block < 1:
        raise ValueError(f"block is {block}: compare at least 1 anchor at once")
    if isinstance(model_or_projections, (tuple, list)):
        if temperature is None:
            raise ValueError("projections were given without a temperature: give temperature=...")
        a, b = (np.asarray(x, np.float32) for x in model_or_projections)
        value, gradients = _of_projections(a, b, temperature, negatives or "both", block)
    else:
        with input_checks.clear_errors():
            value, gradients = _of_model(model_or_projections, data, temperature, negatives, block)
    squares = (np.square(gradient, dtype=np.float64).sum() for gradient in gradients)
    return ExactObjective(value, float(np.sqrt(sum(squares))), gradients)


def _of_model(model, data, temperature, negatives, block):
    """(F, its gradient by the trainable weights)."""
    if data is None:
        raise ValueError("a model was given without data: give the views of all examples")
    batches, loss = _batches(model.prepare_dataset(_stream(data))), model.contrastive_loss
    project, pull_back = _functions(model)
    a, b, index = _project_all(batches, project)
    of_loss = {}
    if temperature is None:
        temperature, rho = loss.temperatures_and_rho(index)
        of_loss = {"rho": rho, "epsilon": loss.epsilon}
        if isinstance(data, Stream) and np.ndim(temperature):
            # Only then they are those of examples; other examples have a temperature for all too.
            examples_check.compare(model, data.source)
    negatives = negatives or loss.negatives
    value, of_views = _of_projections(a, b, temperature, negatives, block, **of_loss)
    total = [np.zeros(weight.shape, np.float32) for weight in _encoder_weights(model)]
    start = 0
    for batch in batches:
        rows = slice(start, start + len(batch["index"]))
        start = rows.stop
        if not np.array_equal(batch["index"], index[rows]):
            raise ValueError(
                "the data gave other examples when it was read again: give it in a fixed order"
            )
        gradients = pull_back(batch, *(gradient[rows] for gradient in of_views))
        for sums, part in zip(total, gradients, strict=True):
            sums += tf.convert_to_tensor(part).numpy()
    return value, total


def _project_all(batches, project):
    """(a, b, index) of all the data, arrays [N, ...]."""
    parts, seen = [], set()
    for batch in batches:
        parts.append((*project(batch), batch["index"]))
        seen.update(batch["index"].numpy().tolist())
        # A stream without end would show here too, in its second epoch.
        if len(seen) < sum(len(index) for *_, index in parts):
            raise ValueError(
                "an example occurs twice in the data: give each once, such as views.epoch(0)"
            )
    return (np.concatenate(column) for column in zip(*parts, strict=True))


def _stream(data):
    return data.epoch(0) if isinstance(data, Stream) else own_batches.checked(data)


def _encoder_weights(model):
    """The trainable weights but for those of the loss, a temperature, which is held fixed."""
    of_loss = {id(weight) for weight in model.contrastive_loss.trainable_weights}
    return [weight for weight in model.trainable_weights if id(weight) not in of_loss]


def _batches(data):
    """A finite tf.data.Dataset of batch dictionaries."""
    if isinstance(data, dict):
        data = tf.data.Dataset.from_tensor_slices(data).batch(256)
    return data.map(lambda *parts: input_checks.unpack(parts))


def _functions(model):
    """Two compiled functions of a model, let go with it.

    project(batch) gives the raw projections of both views, float32 [b, D] each; pull_back(batch,
    of_a, of_b) the gradient by the trainable weights, from that by these projections.
    """

    def project(batch):
        return [tf.cast(side, tf.float32) for side in model.sides(batch)]

    def pull_back(batch, of_a, of_b):
        with tf.GradientTape() as tape:
            projections = project(batch)
        return tape.gradient(
            projections,
            _encoder_weights(model),
            output_gradients=[of_a, of_b],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )

    return (tf.function(function, reduce_retracing=True) for function in (project, pull_back))


def _of_projections(a, b, temperature, negatives, block, rho=0.0, epsilon=0.0):
    """(F, [its gradient by a, by b]), from raw projections float32 [N, D]."""
    temperature = _checked_temperature(a, b, temperature)
    check_negatives(negatives)
    raw = np.concatenate([a, b])
    length = np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12)
    z = raw / length
    comparison = _Comparison(z, temperature, negatives, block)
    log_sum = comparison.log_sums()
    partner = np.roll(z, len(a), axis=0)
    positive = np.einsum("nd,nd->n", z, partner)
    log_g = log_sum - np.log((2 if negatives == "both" else 1) * (len(a) - 1))
    log_epsilon = math.log(epsilon) if epsilon else -math.inf
    # It stands beside a g of differences from the positive.
    floored = np.logaddexp(log_epsilon + positive / temperature, log_g)
    value = float(np.mean(temperature * (floored + rho) - positive, dtype=np.float64))
    # As an anchor and as the positive of its partner.
    weight = np.exp(log_g - floored).astype(np.float32)
    weight += np.roll(weight, len(a))
    attraction = comparison.attraction((log_sum + floored - log_g).astype(np.float32))
    gradient = (attraction - weight[:, np.newaxis] * partner) / len(z)
    # Normalization passes on what stands at a right angle to the projection.
    gradient -= z * np.einsum("nd,nd->n", z, gradient)[:, np.newaxis]
    return value, np.split(gradient / length, 2)


def _checked_temperature(a, b, temperature):
    """The temperature of each anchor, float32 [2N]; ValueError where it or a shape is wrong."""
    if a.ndim != 2 or a.shape != b.shape or len(a) < 2:
        raise ValueError(
            f"projections have shapes {a.shape} and {b.shape}: expected [N, D] twice with N >= 2"
        )
    temperature = np.asarray(temperature, np.float32)
    count = len(a)
    if temperature.shape not in ((), (count,), (2 * count,)) or not (temperature > 0).all():
        raise ValueError(
            f"temperature is {temperature}: expected a number > 0, or one for each of "
            f"{count} examples"
        )
    if temperature.shape == (2 * count,):
        return temperature
    return np.tile(np.broadcast_to(temperature, count), 2)


class _Comparison:
    """All 2N normalized views, first a, then b, compared block by block.

    The similarities are symmetric, so each pair of blocks is compared once for both.
    """

    def __init__(self, z, temperature, negatives, block):
        self._z, self._temperature, self._negatives = z, temperature, negatives
        self._side, self._example = np.divmod(np.arange(len(z)), len(z) // 2)
        starts = range(0, len(z), block)
        self._blocks = [slice(start, min(start + block, len(z))) for start in starts]

    def log_sums(self):
        """float32 [2N], log of the sum over the negatives of exp(<z, z->/temperature)."""
        total = np.full(len(self._z), -np.inf)
        for row, column in self._pairs():
            of_row, of_column = _log_sums(*self._compared(row, column))
            total[row] = np.logaddexp(total[row], of_row)
            if row != column:
                total[column] = np.logaddexp(total[column], of_column)
        return total.astype(np.float32)

    def attraction(self, log_sum):
        """float32 [2N, D]: of each view, the others by their softmax, as anchor and as negative."""
        total = np.zeros_like(self._z)
        for row, column in self._pairs():
            of_row, of_column = _attraction(
                *self._compared(row, column), log_sum[row], log_sum[column]
            )
            total[row] += of_row
            if row != column:
                total[column] += of_column
        return total

    def _pairs(self):
        for first, row in enumerate(self._blocks):
            for column in self._blocks[first:]:
                yield row, column

    def _compared(self, row, column):
        return (
            *(self._z[block] for block in (row, column)),
            *(self._temperature[block] for block in (row, column)),
            self._mask(row, column),
        )

    def _mask(self, row, column):
        """bool [rows, columns]: no negatives of one another."""
        same_example = self._example[row, np.newaxis] == self._example[column]
        if self._negatives == "both":
            return same_example
        return same_example | (self._side[row, np.newaxis] == self._side[column])


@tf.function(reduce_retracing=True)
def _log_sums(row, column, row_temperature, column_temperature, mask):
    similarity = _similarity(row, column, mask)
    return (
        tf.reduce_logsumexp(similarity / row_temperature[:, tf.newaxis], axis=1),
        tf.reduce_logsumexp(similarity / column_temperature, axis=0),
    )


@tf.function(reduce_retracing=True)
def _attraction(
    row, column, row_temperature, column_temperature, mask, row_log_sum, column_log_sum
):
    similarity = _similarity(row, column, mask)
    of_row = similarity / row_temperature[:, tf.newaxis] - row_log_sum[:, tf.newaxis]
    of_column = similarity / column_temperature - column_log_sum
    weight = tf.exp(of_row) + tf.exp(of_column)
    return products.matmul(weight, column), products.matmul(weight, row, transpose_a=True)


def _similarity(row, column, mask):
    return tf.where(mask, -float("inf"), products.matmul(row, column, transpose_b=True))
