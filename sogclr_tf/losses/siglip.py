"""SigLIP's loss between images and texts: every pair of the batch by itself, matching or not."""

import math
from typing import Any

import keras
import tensorflow as tf

from sogclr_tf.losses import replica
from sogclr_tf.losses.base import with_gradient_of
from sogclr_tf.losses.one_temperature import OneTemperatureLoss
from sogclr_tf.losses.similarities import Similarities


@keras.saving.register_keras_serializable(package="sogclr_tf")
class SigLIPLoss(OneTemperatureLoss):
    """SigLIP, Zhai et al., ICCV 2023, arXiv 2303.15343, algorithm 1.

        mean over the batch's B images i of the
            sum over its B texts j of log(1 + exp(-y * (<x[i], y[j]>/t + bias))),

    y being 1 where j = i and -1 elsewhere: a logistic regression on every pair of the batch, which
    matches or does not. No softmax compares one pair with the others, so the sum over texts of the
    mean over images is the same number, and it is computed as the mean of both over the 2B anchors.

    Of the B pairs of an image one matches, and the bias holds that: at -10, where it starts, the
    loss of a pair that does not match is near 0. The best bias depends on B: it falls as B grows.
    t and bias are learned by the optimizer. The weight is log t; SigLIP learns log(1/t), its
    negative, which is the same descent.

        loss = sogclr_tf.SigLIPLoss()
        model = sogclr_tf.TwoTowerSogCLR(image_encoder, text_encoder, loss)

    Args:
        temperature: where t starts, > 0; the paper's 0.1 (it says t' = log 10).
        bias: where the bias starts, a finite number; the paper's -10.
        temperature_scheme: "global": t is learned; "constant": it stays, and the bias is learned.
        min_temperature: above 0, with "global". The paper sets no bounds; 0.001 is far from where t
            goes, and so is 1.
        max_temperature: at least min_temperature, with "global".
        name: of the layer.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> import tensorflow as tf
        >>> import sogclr_tf
        >>> loss = sogclr_tf.SigLIPLoss(temperature=0.1, bias=-10.0)
        >>> images = tf.random.stateless_normal([8, 16], seed=[1, 2])
        >>> right = loss(images, images, tf.range(8))
        >>> wrong = loss(images, images[::-1], tf.range(8))
        >>> bool(right < wrong)
        True
    """

    options = (*OneTemperatureLoss.options, "bias")
    has_normalizer = False

    def __init__(
        self,
        temperature: float = 0.1,
        bias: float = -10.0,
        temperature_scheme: str = "global",
        *,
        min_temperature: float = 0.001,
        max_temperature: float = 1.0,
        name: str = "siglip",
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
        if not math.isfinite(bias):
            raise ValueError(f"bias is {bias}: it must be a finite number, commonly -10")
        self.bias = float(bias)
        self.metric_names = (*self.metric_names, "bias")
        # By this name optimizers do not let it decay.
        self._bias = self.add_weight(
            name="bias",
            shape=(),
            dtype="float32",
            initializer=keras.initializers.Constant(self.bias),
            autocast=False,
        )

    @property
    def learned_bias(self) -> tf.Tensor:
        """The bias as it is by now: tf.Tensor float32 []."""
        return tf.convert_to_tensor(self._bias)

    def loss_and_metrics(
        self, a: tf.Tensor, b: tf.Tensor, index: tf.Tensor, training: bool = True
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """As in `ContrastiveLoss`; a learned temperature and the bias are logged."""
        loss, metrics = super().loss_and_metrics(a, b, index, training=training)
        return loss, {**metrics, "bias": self.learned_bias}

    def compute(self, compared: Similarities, index: tf.Tensor, training: bool) -> tf.Tensor:  # noqa: ARG002
        scale, bias = 1 / self._temperature(), self.learned_bias
        # By the scale's gradient a masked column counts for nothing: 0 times -inf is 0 here.
        negative = tf.math.multiply_no_nan(compared.negative, scale) + bias
        anchors = tf.nn.softplus(-(compared.positive * scale + bias))
        anchors += tf.reduce_sum(tf.nn.softplus(negative), axis=1)
        share = tf.reduce_sum(anchors) / tf.cast(2 * compared.global_batch, tf.float32)
        return with_gradient_of(share, replica.mean(anchors))
