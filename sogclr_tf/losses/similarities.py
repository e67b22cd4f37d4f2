"""The similarities of a global batch, as every loss needs them."""

from typing import NamedTuple, Self

import tensorflow as tf

from sogclr_tf.losses import products, replica

NEGATIVES = ("both", "other")


class Similarities(NamedTuple):
    """Cosine similarities of this replica's 2b anchors: its b views a, then its b views b.

    A view is whatever stands on a side: of image and text, a are the images, b the texts.

    Attributes:
        positive: float32 [2b], each anchor with the other view of its example.
        negative: float32 [2b, columns], each anchor with the views it is told from; -inf where the
            column is the anchor itself, its positive or of the same image otherwise. With
            negatives "both" the columns are all 2B views of the global batch; with "other" the B
            views of the other side.
        num_negatives: the entries of a row that count, 2(B-1) or B-1: an int, or an int32 scalar
            where the batch is not static. Where rows may be of one image, int32 [2b].
        global_batch: B, likewise.
    """

    positive: tf.Tensor
    negative: tf.Tensor
    num_negatives: int | tf.Tensor
    global_batch: int | tf.Tensor

    def differences(self) -> Self:
        """The same with <z, z-> - <z, z+> in place of each <z, z->, and 0 for each positive."""
        return self._replace(
            negative=self.negative - self.positive[:, tf.newaxis],
            positive=tf.zeros_like(self.positive),
        )

    def log_mean_exp(self, temperature: float | tf.Tensor) -> tf.Tensor:
        """log g: float32 [2b], the log of the mean over the negatives of exp(<z, z->/temperature).

        Args:
            temperature: float32 > 0, a scalar or [2b].
        """
        logits = self.negative / _column(temperature)
        count = tf.cast(self.num_negatives, tf.float32)
        return tf.reduce_logsumexp(logits, axis=1) - tf.math.log(count)

    def expected_logit(self, temperature: float | tf.Tensor) -> tf.Tensor:
        """float32 [2b], the mean over the negatives of <z, z->/temperature, weighted by its exp.

        Args:
            temperature: float32 > 0, a scalar or [2b].
        """
        logits = self.negative / _column(temperature)
        # A masked column counts for nothing: 0 times -inf is 0 here.
        weighted = tf.math.multiply_no_nan(logits, tf.nn.softmax(logits))
        return tf.reduce_sum(weighted, axis=1)


def compare(
    a: tf.Tensor, b: tf.Tensor, negatives: str = "both", image: tf.Tensor | None = None
) -> Similarities:
    """Normalizes raw projections, gathers the replicas' and compares them.

    Args:
        a: float [b, D], this replica's projections of the first views.
        b: float [b, D], of the second views, row by row of the same examples.
        negatives: "both" tells an anchor from both views of every other example of the global
            batch; "other" from the views on the side of its positive alone.
        image: int [b], the image that a row is of, where several rows of the global batch may be
            of one, each with another caption: they are no negatives of one another. None: every
            row is an example of its own.

    Returns:
        `Similarities`, computed in float32 whatever comes in.

    Raises:
        ValueError: the shapes are not [b, D] twice, or the global batch has fewer than 2 examples.
    """
    _check_shapes(a, b)
    a, b = (tf.math.l2_normalize(tf.cast(x, tf.float32), axis=-1, epsilon=1e-24) for x in (a, b))
    # One gather of both views side by side: half as many messages as two.
    everyone = replica.gather(tf.stack([a, b], axis=1))
    all_a, all_b = everyone[:, 0], everyone[:, 1]
    local = a.shape[0] if a.shape[0] is not None else tf.shape(a)[0]
    own = _own_example(local) if image is None else _same_image(image)
    if negatives == "both":
        views = tf.concat([all_a, all_b], axis=0)
        similarity = products.matmul(tf.concat([a, b], axis=0), views, transpose_b=True)
        own, sides = tf.tile(own, [2, 2]), 2
    else:
        of_a, of_b = (products.matmul(*x, transpose_b=True) for x in ((a, all_b), (b, all_a)))
        similarity = tf.concat([of_a, of_b], axis=0)
        own, sides = tf.tile(own, [2, 1]), 1
    positive = tf.reduce_sum(a * b, axis=-1)
    global_batch = local * replica.count()
    count: int | tf.Tensor = sides * (global_batch - 1)
    if image is not None:
        count = tf.reduce_sum(tf.cast(~own, tf.int32), axis=1)
    return Similarities(
        positive=tf.concat([positive, positive], axis=0),
        negative=tf.where(own, -float("inf"), similarity),
        num_negatives=count,
        global_batch=global_batch,
    )


def check_negatives(negatives: str) -> None:
    """Raises ValueError unless `negatives` is one of `NEGATIVES`."""
    if negatives not in NEGATIVES:
        raise ValueError(f"unknown negatives '{negatives}': choose one of {', '.join(NEGATIVES)}")


def _column(temperature: float | tf.Tensor) -> tf.Tensor:
    """A scalar as it is; one value for each anchor as a column."""
    temperature = tf.convert_to_tensor(temperature, tf.float32)
    return temperature[:, tf.newaxis] if temperature.shape.rank else temperature


def _own_example(local: int | tf.Tensor) -> tf.Tensor:
    """bool [b, B]: the columns of one side that hold a view of the anchor's own example.

    Replica 1 of 2 with b = 2, so B = 4 (o: own example, masked; the rest are negatives):

                 all a: 0 1 2 3   all b: 0 1 2 3
        a of 2          . . o .          . . o .
        a of 3          . . . o          . . . o
        b of 2          . . o .          . . o .
        b of 3          . . . o          . . . o

    The four quarters are alike. With negatives "other" those of a with a and b with b are not made.
    """
    rows = tf.range(local) + replica.first_row(local)
    return rows[:, tf.newaxis] == tf.range(local * replica.count())[tf.newaxis, :]


def _same_image(image: tf.Tensor) -> tf.Tensor:
    """bool [b, B]: the columns of one side that are of the anchor's own image.

    Replica 1 of 2 with b = 2, of a batch with captions of the images 7 4 | 7 9 (o: masked):

                       all b: 0 1 2 3
                       images 7 4 7 9
        a of 2, image 7       o . o .
        a of 3, image 9       . . . o

    The other quarters are alike. What is masked is the anchor's positive and, in column 0, another
    caption of its image.
    """
    image = tf.cast(image, tf.int32)
    return image[:, tf.newaxis] == replica.gather(image)[tf.newaxis, :]


def _check_shapes(a: tf.Tensor, b: tf.Tensor) -> None:
    shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
    if a.shape.rank != 2 or b.shape.rank != 2 or not a.shape.is_compatible_with(b.shape):
        raise ValueError(f"projections have shapes {shapes}: expected [B, D] twice")
    if a.shape[0] is not None and a.shape[0] * replica.count() < 2:
        raise ValueError("a batch of 1 example has no negatives: the global batch must be >= 2")
