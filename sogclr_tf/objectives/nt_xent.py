"""SimCLR's objective, the baseline that needs large batches."""

import keras
import tensorflow as tf

from sogclr_tf import replica
from sogclr_tf.objectives.base import ContrastiveLoss, with_gradient_of


@keras.saving.register_keras_serializable(package="sogclr_tf")
class NTXentLoss(ContrastiveLoss):
    """NT-Xent, Chen et al., ICML 2020, arXiv 2002.05709, eq. (1).

        2 * mean over the batch's 2B anchors of
            [ -<z, z+>/temperature + log(sum over z+ and the 2(B-1) negatives of exp(<z, .>/t)) ]

    Twice the mean is the sum of both directions, as google-research/simclr reports it (the paper's
    eq. is the mean). A blind guess scores 2 log(2B - 1).

    Args:
        temperature: > 0. SimCLR's 0.1 for ImageNet, 0.5 for CIFAR-10.
    """

    def __init__(self, temperature=0.1, name="simclr", **kwargs):
        super().__init__(temperature=temperature, name=name, **kwargs)

    def compute(self, compared, index, training):  # noqa: ARG002
        positive = compared.positive / self.temperature
        logits = tf.concat([positive[:, None], compared.negative / self.temperature], axis=1)
        anchors = tf.reduce_logsumexp(logits, axis=1) - positive
        share = tf.reduce_sum(anchors) / tf.cast(compared.global_batch, tf.float32)
        return with_gradient_of(share, 2 * replica.mean(anchors))
