"""The losses that see no more than their batch: SimCLR's NT-Xent and the decoupled loss."""

from typing import Any

import keras
import tensorflow as tf

from sogclr_tf.losses.base import TwoViewLoss, both_directions
from sogclr_tf.losses.similarities import Similarities


@keras.saving.register_keras_serializable(package="sogclr_tf")
class NTXentLoss(TwoViewLoss):
    """NT-Xent, Chen et al., ICML 2020, arXiv 2002.05709, eq. (1).

        2 * mean over the batch's 2B anchors of
            [ -<z, z+>/temperature + log(sum over z+ and the negatives of exp(<z, .>/temperature)) ]

    Twice the mean is the sum of both directions, as google-research/simclr reports it (the paper's
    eq. is the mean). A blind guess scores 2 log(2B - 1), or 2 log(B) with negatives "other".

    Args:
        temperature: above 0. SimCLR's 0.1 for ImageNet, 0.5 for CIFAR-10.
        negatives: "both", as in SimCLR: the 2(B-1) views of the other examples; "other", as in
            MoCo v3: the B-1 of them on the side of the positive.
        name: of the layer.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> import math
        >>> import tensorflow as tf
        >>> import sogclr_tf
        >>> loss = sogclr_tf.NTXentLoss(temperature=0.5)
        >>> alike = tf.ones([8, 4])  # all views equal: blind guessing
        >>> value = float(loss(alike, alike, tf.range(8)))
        >>> math.isclose(value, 2 * math.log(2 * 8 - 1), rel_tol=1e-5)
        True
    """

    def __init__(
        self, temperature: float = 0.1, negatives: str = "both", name: str = "simclr", **kwargs: Any
    ) -> None:
        super().__init__(temperature=temperature, negatives=negatives, name=name, **kwargs)

    def compute(self, compared: Similarities, index: tf.Tensor, training: bool) -> tf.Tensor:  # noqa: ARG002
        positive = compared.positive / self.temperature
        logits = tf.concat([positive[:, None], compared.negative / self.temperature], axis=1)
        anchors = tf.reduce_logsumexp(logits, axis=1) - positive
        return both_directions(anchors, compared.global_batch)


@keras.saving.register_keras_serializable(package="sogclr_tf")
class DecoupledContrastiveLoss(TwoViewLoss):
    """DCL, Yeh et al., ECCV 2022, arXiv 2110.06848, L_DC, without weights.

        2 * mean over the batch's 2B anchors of
            [ -<z, z+>/temperature + log(sum over the negatives z- of exp(<z, z->/temperature)) ]

    NT-Xent's denominator holds the positive too, which takes gradient from an anchor whose positive
    is near, and the more the smaller the batch. As in `NTXentLoss`, twice the mean is the sum of
    both directions; `temperature` times the gradient is that of `GlobalContrastiveLoss` at gamma=1.
    Unlike NT-Xent's, the value can be negative: there the positive outweighs all negatives.

    Args:
        temperature: above 0, commonly 0.07 to 0.5.
        negatives: "both", as in the paper: the 2(B-1) views of the other examples; "other": the
            B-1 of them on the side of the positive.
        name: of the layer.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> import math
        >>> import tensorflow as tf
        >>> import sogclr_tf
        >>> loss = sogclr_tf.DecoupledContrastiveLoss(temperature=0.5)
        >>> alike = tf.ones([8, 4])  # all views equal: blind guessing
        >>> value = float(loss(alike, alike, tf.range(8)))
        >>> math.isclose(value, 2 * math.log(2 * 8 - 2), rel_tol=1e-5)
        True
    """

    def __init__(
        self, temperature: float = 0.1, negatives: str = "both", name: str = "dcl", **kwargs: Any
    ) -> None:
        super().__init__(temperature=temperature, negatives=negatives, name=name, **kwargs)

    def compute(self, compared: Similarities, index: tf.Tensor, training: bool) -> tf.Tensor:  # noqa: ARG002
        logits = compared.negative / self.temperature
        anchors = tf.reduce_logsumexp(logits, axis=1) - compared.positive / self.temperature
        return both_directions(anchors, compared.global_batch)
