"""SimCLR's objective, the baseline that needs large batches."""

import keras
import tensorflow as tf

from sogclr_tf.objectives.base import both_directions
from sogclr_tf.objectives.two_views import TwoViewLoss


@keras.saving.register_keras_serializable(package="sogclr_tf")
class NTXentLoss(TwoViewLoss):
    """NT-Xent, Chen et al., ICML 2020, arXiv 2002.05709, eq. (1).

        2 * mean over the batch's 2B anchors of
            [ -<z, z+>/temperature + log(sum over z+ and the negatives of exp(<z, .>/temperature)) ]

    Twice the mean is the sum of both directions, as google-research/simclr reports it (the paper's
    eq. is the mean). A blind guess scores 2 log(2B - 1), or 2 log(B) with negatives "other".

    Args:
        temperature: > 0. SimCLR's 0.1 for ImageNet, 0.5 for CIFAR-10.
        negatives: "both", as in SimCLR: the 2(B-1) views of the other examples; "other", as in
            MoCo v3: the B-1 of them on the side of the positive.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, temperature=0.1, negatives="both", name="simclr", **kwargs):
        super().__init__(temperature=temperature, negatives=negatives, name=name, **kwargs)

    def compute(self, compared, index, training):  # noqa: ARG002
        positive = compared.positive / self.temperature
        logits = tf.concat([positive[:, None], compared.negative / self.temperature], axis=1)
        anchors = tf.reduce_logsumexp(logits, axis=1) - positive
        return both_directions(anchors, compared.global_batch)
