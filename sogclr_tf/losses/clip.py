"""CLIP's loss between images and texts, the baseline that needs large batches."""

from typing import Any

import keras
import tensorflow as tf

from sogclr_tf.losses import replica
from sogclr_tf.losses.base import with_gradient_of
from sogclr_tf.losses.one_temperature import OneTemperatureLoss
from sogclr_tf.losses.similarities import Similarities


@keras.saving.register_keras_serializable(package="sogclr_tf")
class CLIPLoss(OneTemperatureLoss):
    """CLIP, Radford et al., ICML 2021, arXiv 2103.00020, figure 3.

        mean over the batch's 2B anchors of
            [ -<z, z+>/t + log(sum over z+ and the B-1 others of the other side of exp(<z, .>/t)) ]

    An image picks its text among those of the batch, a text its image: the mean of both directions'
    cross-entropies, of which a blind guess scores log(B). t is learned by the optimizer, as the
    weight log t. CLIP learns log(1/t), its negative, which is the same descent, and keeps the
    logits' scale 1/t at 100 at most.

    Args:
        temperature: where t starts, > 0; CLIP's 0.07.
        temperature_scheme: "global": t is learned; "constant": it stays.
        min_temperature: above 0, with "global": CLIP's 0.01.
        max_temperature: at least min_temperature, with "global"; the paper names none, and 1 is
            far from it.
        name: of the layer.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> import tensorflow as tf
        >>> import sogclr_tf
        >>> loss = sogclr_tf.CLIPLoss(temperature=0.07)
        >>> images = tf.random.stateless_normal([8, 16], seed=[1, 2])
        >>> right = loss(images, images, tf.range(8))  # each text at its image
        >>> wrong = loss(images, images[::-1], tf.range(8))
        >>> bool(right < wrong)
        True
    """

    of_differences = True

    def __init__(
        self,
        temperature: float = 0.07,
        temperature_scheme: str = "global",
        *,
        min_temperature: float = 0.01,
        max_temperature: float = 1.0,
        name: str = "clip",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            temperature,
            temperature_scheme,
            min_temperature=min_temperature,
            max_temperature=max_temperature,
            name=name,
            **kwargs,
        )

    def compute(self, compared: Similarities, index: tf.Tensor, training: bool) -> tf.Tensor:  # noqa: ARG002
        scale = 1 / self._temperature()
        # By the scale's gradient a masked column counts for nothing: 0 times -inf is 0 here.
        logits = tf.math.multiply_no_nan(compared.differences().negative, scale)
        # The positive's own logit is 0: log(1 + sum of exp).
        anchors = tf.nn.softplus(tf.reduce_logsumexp(logits, axis=1))
        share = tf.reduce_sum(anchors) / tf.cast(2 * compared.global_batch, tf.float32)
        return with_gradient_of(share, replica.mean(anchors))
