"""What in-batch losses of pairs share: one temperature of all, which the optimizer may learn."""

from typing import Any

import tensorflow as tf

from sogclr_tf.losses import learned_temperature
from sogclr_tf.losses.base import ContrastiveLoss

SCHEMES = ("constant", "global")


class OneTemperatureLoss(ContrastiveLoss):
    """A loss of images and texts at one temperature. A subclass gives `compute`.

    Args:
        temperature: where t starts, > 0.
        temperature_scheme: "global": t is learned; "constant": it stays.
        min_temperature: above 0, with "global".
        max_temperature: at least min_temperature, with "global".
        name: of the layer.
        **kwargs: as for `keras.layers.Layer`.

    Raises:
        ValueError: an argument is out of range.
    """

    contrasts = "pairs"
    options: tuple[str, ...] = (
        "temperature",
        "temperature_scheme",
        "min_temperature",
        "max_temperature",
    )

    def __init__(
        self,
        temperature: float,
        temperature_scheme: str,
        *,
        min_temperature: float,
        max_temperature: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(temperature=temperature, **kwargs)
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

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in self.options}}
