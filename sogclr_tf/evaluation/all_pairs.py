"""All views of all examples, each compared with every other, block by block."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.losses import products
from sogclr_tf.losses.similarities import check_negatives


class AllPairs:
    """The 2N normalized views of N examples, first a, then b, as anchors and as negatives.

    The similarities are symmetric, so each pair of blocks is compared once for both. One block of
    similarities is held at a time.

    Args:
        a: float32 [N, D], raw projections of the first views, or of images; N >= 2.
        b: float32 [N, D], of the second views, or of texts.
        temperature: float > 0, or float [N], one for each example, or [2N], for the anchors of a
            and then of b.
        negatives: "both" or "other", as for the losses.
        block: int >= 1, anchors that are compared at once with as many others.
        image: int [N], the image that each row is of, where rows of one are its captions: no
            negatives of one another, and all together of one image's weight. None: one row each.

    Attributes:
        z: float32 [2N, D], L2-normalized.
        length: float32 [2N, 1], what the projections were divided by.
        partner: float32 [2N, D], of each view the other of its example.
        positive: float32 [2N], the similarity of the two.
        temperature: float32 [2N].
        images: how many there are, an int; N, but where `image` is given.
        rows_of_image: int [N], in how many rows the image of each stands.

    Raises:
        ValueError: an argument is out of range, the shapes differ, or all rows are of one image.
    """

    def __init__(
        self,
        a: np.ndarray,
        b: np.ndarray,
        temperature: Any,
        negatives: str,
        block: int,
        image: np.ndarray | None = None,
    ) -> None:
        if block < 1:
            raise ValueError(f"block is {block}: compare at least 1 anchor at once")
        self.temperature = _checked_temperature(a, b, temperature)
        check_negatives(negatives)
        self._negatives = negatives
        raw = np.concatenate([a, b])
        self.length = np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12)
        self.z = raw / self.length
        self.partner = np.roll(self.z, len(a), axis=0)
        self.positive = np.einsum("nd,nd->n", self.z, self.partner)
        self.image, self.rows_of_image = _checked_image(image, len(a))
        self.images = int(self.image.max()) + 1
        self._side, self._example = np.repeat([0, 1], len(a)), np.tile(self.image, 2)
        self._log_weight = -np.log(np.tile(self.rows_of_image, 2)).astype(np.float32)
        starts = range(0, len(self.z), block)
        self._blocks = [slice(start, min(start + block, len(self.z))) for start in starts]

    def log_sums(self) -> np.ndarray:
        """float32 [2N], log of the sum over the negatives of exp(<z, z->/temperature)."""
        total = np.full(len(self.z), -np.inf)
        for row, column in self._pairs():
            of_row, of_column = _log_sums(*self._compared(row, column))
            total[row] = np.logaddexp(total[row], of_row)
            if row != column:
                total[column] = np.logaddexp(total[column], of_column)
        return total.astype(np.float32)

    def log_mean_of(self, log_sum: np.ndarray) -> np.ndarray:
        """float64 [2N], log g: what `log_sums` gave, over the number of negatives."""
        sides = 2 if self._negatives == "both" else 1
        return log_sum - np.log(sides * (self.images - 1))

    def attraction(self, log_sum: np.ndarray) -> np.ndarray:
        """float32 [2N, D]: of each view, the others by their softmax, as anchor and as negative.

        Args:
            log_sum: what `log_sums` gave.
        """
        total = np.zeros_like(self.z)
        for row, column in self._pairs():
            of_row, of_column = _attraction(
                *self._compared(row, column), log_sum[row], log_sum[column]
            )
            total[row] += of_row
            if row != column:
                total[column] += of_column
        return total

    def _pairs(self) -> Iterator[tuple[slice, slice]]:
        for first, row in enumerate(self._blocks):
            for column in self._blocks[first:]:
                yield row, column

    def _compared(self, row: slice, column: slice) -> tuple[np.ndarray, ...]:
        return (
            *(self.z[block] for block in (row, column)),
            *(self.temperature[block] for block in (row, column)),
            *(self._log_weight[block] for block in (row, column)),
            self._mask(row, column),
        )

    def _mask(self, row: slice, column: slice) -> np.ndarray:
        """bool [rows, columns]: no negatives of one another."""
        same_example = self._example[row, np.newaxis] == self._example[column]
        if self._negatives == "both":
            return same_example
        return same_example | (self._side[row, np.newaxis] == self._side[column])


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


def _checked_image(image, count):
    """The image of each row, numbered from 0, and how many rows it has; ValueError of one image."""
    if image is None:
        return np.arange(count), np.ones(count, np.int64)
    if np.shape(image) != (count,):
        raise ValueError(f"image has shape {np.shape(image)}: expected [{count}], of each row")
    found, numbers, counts = np.unique(image, return_inverse=True, return_counts=True)
    if len(found) < 2:
        raise ValueError(f"all rows are captions of image {found[0]}: give those of others too")
    return numbers, counts[numbers]


@tf.function(reduce_retracing=True)
def _log_sums(row, column, row_temperature, column_temperature, row_weight, column_weight, mask):
    of_row, of_column = _logits(
        row, column, row_temperature, column_temperature, row_weight, column_weight, mask
    )
    return tf.reduce_logsumexp(of_row, axis=1), tf.reduce_logsumexp(of_column, axis=0)


@tf.function(reduce_retracing=True)
def _attraction(
    row,
    column,
    row_temperature,
    column_temperature,
    row_weight,
    column_weight,
    mask,
    row_log_sum,
    column_log_sum,
):
    of_row, of_column = _logits(
        row, column, row_temperature, column_temperature, row_weight, column_weight, mask
    )
    of_row, of_column = of_row - row_log_sum[:, tf.newaxis], of_column - column_log_sum
    weight = tf.exp(of_row) + tf.exp(of_column)
    return products.matmul(weight, column), products.matmul(weight, row, transpose_a=True)


def _logits(row, column, row_temperature, column_temperature, row_weight, column_weight, mask):
    """Those of each row's anchor with the columns, and of each column's with the rows.

    The log of a view's weight as a negative is added.
    """
    similarity = tf.where(mask, -float("inf"), products.matmul(row, column, transpose_b=True))
    of_row = similarity / row_temperature[:, tf.newaxis] + column_weight
    return of_row, similarity / column_temperature + row_weight[:, tf.newaxis]
