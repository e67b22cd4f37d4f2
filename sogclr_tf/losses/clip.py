"""CLIP's loss between images and texts, the baseline that needs large batches."""

from typing import Any

import keras
import tensorflow as tf

from sogclr_tf.losses import learned_temperature, replica
from sogclr_tf.losses.base import ContrastiveLoss, with_gradient_of
from sogclr_tf.losses.similarities import Similarities

SCHEMES = ("constant", "global")


@keras.saving.register_keras_serializable(package="sogclr_tf")
class CLIPLoss(ContrastiveLoss):
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
        min_temperature: > 0, with "global": CLIP's 0.01.
        max_temperature: >= min_temperature, with "global"; the paper names none, 1 is far from it.

    Raises:
        ValueError: an argument is out of range.
    """

    contrasts = "pairs"
    options = ("temperature", "temperature_scheme", "min_temperature", "max_temperature")

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
        super().__init__(temperature=temperature, name=name, **kwargs)
        learned_temperature.check_scheme(temperature_scheme, SCHEMES)
        self.temperature_scheme = temperature_scheme
        self.min_temperature = float(min_temperature)
        self.max_temperature = float(max_temperature)
        if temperature_scheme == "global":
            learned_temperature.check_bounds(temperature, min_temperature, max_temperature)
            self.metric_names = (*self.metric_names, "temperature")
            self._log_temperature = learned_temperature.add_log_temperature(
                self, self.temperature, self.min_temperature, self.max_temperature
            )

    @property
    def learned_temperature(self) -> tf.Tensor:
        """With "global", the temperature as it is by now: tf.Tensor float32 []."""
        return tf.exp(self._log_temperature)

    def loss_and_metrics(
        self, a: tf.Tensor, b: tf.Tensor, index: tf.Tensor, training: bool = True
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """As in `ContrastiveLoss`; a learned temperature is logged."""
        loss, metrics = super().loss_and_metrics(a, b, index, training=training)
        if self.temperature_scheme == "global":
            metrics["temperature"] = self.learned_temperature
        return loss, metrics

    def temperatures_and_rho(self, index: tf.Tensor) -> tuple[float | tf.Tensor, float]:
        del index
        return self._temperature(), 0.0

    def _temperature(self) -> float | tf.Tensor:
        return self.learned_temperature if self.temperature_scheme == "global" else self.temperature

    def compute(self, compared: Similarities, index: tf.Tensor, training: bool) -> tf.Tensor:  # noqa: ARG002
        scale = 1 / self._temperature()
        # By the scale's gradient a masked column counts for nothing: 0 times -inf is 0 here.
        logits = tf.math.multiply_no_nan(compared.differences().negative, scale)
        # The positive's own logit is 0: log(1 + sum of exp).
        anchors = tf.nn.softplus(tf.reduce_logsumexp(logits, axis=1))
        share = tf.reduce_sum(anchors) / tf.cast(2 * compared.global_batch, tf.float32)
        return with_gradient_of(share, replica.mean(anchors))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in self.options}}
