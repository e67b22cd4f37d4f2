"""SogCLR: the global contrastive objective at small batch."""

import math

import keras
import tensorflow as tf

from sogclr_tf import replica, table
from sogclr_tf.objectives.base import ContrastiveLoss, with_gradient_of


@keras.saving.register_keras_serializable(package="sogclr_tf")
class GlobalContrastiveLoss(ContrastiveLoss):
    """SogCLR, Yuan et al., ICML 2022, arXiv 2202.12387, Algorithm 1.

    The objective contrasts each view with the views of *all* other training examples:

        F = mean over the 2N anchors of [ -<z, z+> + temperature * log g(z) ],
        g(z) = mean over the negatives z- of exp(<z, z-> / temperature).

    A batch sees 2(B-1) negatives of each anchor. The log of so small a sample's mean is biased, so
    u[i], a moving average kept for every example, stands in for g:

        u[i] <- g                              on the first visit of example i
        u[i] <- (1 - gamma) u[i] + gamma g     afterwards
        gradient of 2 * mean over the batch's anchors of
            [ -<z, z+> + temperature * stop_gradient(g / u) * log g ].

    The factor 2 makes it the sum of both directions, as in the authors' library (and in SimCLR).
    Each view averages with the entry as it was before the step; the mean of the two is stored. The
    value returned is the estimate of F, mean(-<z, z+> + temperature * log u), which falls as
    training succeeds and lies between -2 and 2.

    Args:
        num_examples: N, the size of the training set: indices lie in [0, N). The table takes
            4 bytes per example.
        temperature: > 0. The paper's 0.1 for ImageNet; 0.3 for CIFAR-10.
        gamma: in (0, 1], the weight of the newest batch. 1 remembers nothing: the decoupled
            in-batch loss. The paper's 0.9; smaller values pay at small batches.

    Raises:
        ValueError: an argument is out of range.
    """

    options = ("temperature", "gamma")
    has_table = True

    def __init__(self, num_examples, temperature=0.1, gamma=0.9, name="sogclr", **kwargs):
        super().__init__(temperature=temperature, name=name, **kwargs)
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma is {gamma}: it must lie in (0, 1], commonly 0.1 to 0.99")
        if num_examples != int(num_examples) or num_examples < 2:
            raise ValueError(f"num_examples is {num_examples}: it must be a whole number >= 2")
        self.gamma = float(gamma)
        self.num_examples = int(num_examples)
        self._table = table.add_table(self, self.num_examples, name="log_u")

    @property
    def log_u(self):
        """The table: tf.Variable float32 [num_examples], -inf where an example was never seen."""
        return self._table.value

    def compute(self, compared, index, training):
        negatives = 2 * (compared.global_batch - 1)
        log_g = tf.reduce_logsumexp(compared.negative / self.temperature, axis=1)
        log_g -= tf.math.log(tf.cast(negatives, tf.float32))
        log_u = tf.stop_gradient(log_g)
        if training:
            old = table.read(self._table, index)
            log_u = table.moving_average(tf.tile(old, [2]), log_u, self.gamma)
            self._record(index, log_u)
        weight = tf.stop_gradient(tf.exp(log_g - log_u))
        surrogate = -compared.positive + self.temperature * weight * log_g
        value = replica.mean(-compared.positive + self.temperature * log_u)
        # This replica's share of twice the mean over the 2B anchors.
        share = tf.reduce_sum(surrogate) / tf.cast(compared.global_batch, tf.float32)
        return with_gradient_of(share, value)

    def _record(self, index, log_u):
        """Stores the mean of both views' u for every example of the global batch."""
        of_a, of_b = tf.split(log_u, 2)
        rows = table.log_add(of_a, of_b) - math.log(2)
        table.write(self._table, replica.gather(tf.cast(index, tf.int32)), replica.gather(rows))

    def get_config(self):
        return {**super().get_config(), "num_examples": self.num_examples, "gamma": self.gamma}
