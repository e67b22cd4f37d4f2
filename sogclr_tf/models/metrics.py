"""What is kept of every step, to be read at any time: means that replicas may share out."""

import keras
import tensorflow as tf


class LogMeanExp(keras.metrics.Mean):
    """log of the mean of exp(value): the mean of what values are the logarithms of.

    It is the same whether one device has seen all values or each of several an equal part.
    """

    def update_state(self, values: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        super().update_state(tf.exp(values), sample_weight)

    def result(self) -> tf.Tensor:
        return tf.math.log(super().result())


class FeatureStd(keras.metrics.Metric):
    """How far L2-normalized features spread: a scalar in 0..1.

    The root of the sum over dimensions of the variances, which for vectors of length 1 is
    sqrt(1 - |mean|^2): 0 where all are the same vector, as in a collapsed encoder, 1 where they
    point everywhere alike. It is sqrt(C) times the deviation of a dimension, in the root mean
    square.

    Args:
        width: C, the number of features.
    """

    def __init__(self, width: int, name: str = "feature_std") -> None:
        super().__init__(name=name, dtype="float32")
        self._sum = self.add_variable((width,), initializer="zeros", name="sum")
        self._count = self.add_variable((), initializer="zeros", name="count")

    def update_state(self, features: tf.Tensor) -> None:
        """Adds features float [B, C], normalized here."""
        features = tf.math.l2_normalize(tf.cast(features, tf.float32), axis=-1, epsilon=1e-24)
        self._sum.assign_add(tf.reduce_sum(features, axis=0))
        self._count.assign_add(tf.cast(tf.shape(features)[0], tf.float32))

    def result(self) -> tf.Tensor:
        mean = tf.math.divide_no_nan(self._sum.value, self._count.value)
        # Rounding may leave a length a little above 1.
        return tf.sqrt(tf.maximum(1.0 - tf.reduce_sum(mean**2), 0.0))
