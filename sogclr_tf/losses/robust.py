"""iSogCLR: the global contrastive objective with a temperature for every example."""

from typing import Any

import keras
import tensorflow as tf

from sogclr_tf.losses import learned_temperature, table, temperature_steps
from sogclr_tf.losses.global_contrastive import GlobalContrastiveLoss, global_loss
from sogclr_tf.losses.similarities import Similarities


@keras.saving.register_keras_serializable(package="sogclr_tf")
class RobustGlobalContrastiveLoss(GlobalContrastiveLoss):
    """iSogCLR, Qiu et al., ICML 2023, arXiv 2305.11965, eq. (6).

    SogCLR's objective, minimized over a temperature t[i] of every example as well:

        F = mean over the 2N anchors of [ -<z, z+> + t[i] * log g(z) + t[i] * rho ].

    An example with many look-alikes ends at a high temperature, which spares their likeness; a rare
    one at a low temperature, which tells it apart. u and the encoder's gradient are SogCLR's, at
    the temperatures before the step. These then follow, with the mean of both views,

        d[i] = log u + rho - (g / u) * mean over the negatives of <z, z->/t[i], weighted by its exp
        v[i] <- (1 - beta) v[i] + beta d[i]                     from v[i] = 0
        t[i] <- t[i] - eta v[i], clipped to [min_temperature, max_temperature].

    It equals the authors' library, where d is this and not the derivative of F, which has a 1/N in
    addition. The value returned is the estimate of F, rho's part included. With training=False
    every example has the initial temperature.

    Args:
        num_examples: N; the tables of u, t and v take 12 bytes per example.
        temperature: where every t[i] starts, in [min_temperature, max_temperature].
        gamma, gamma_decay_steps, negatives, gamma_rule, gamma_shift, drift_rate: as for
            `GlobalContrastiveLoss`.
        rho: at least 0. The larger, the lower the temperatures end; the authors' 0.3, commonly 0.1
            to 0.5 for images.
        eta: at least 0, the step of the temperatures; 0 keeps them as they are.
        beta: in (0, 1], the weight of the newest gradient of a temperature.
        min_temperature: above 0; the authors' 0.05.
        max_temperature: at least min_temperature; the authors' 0.7.
        name: of the layer.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> import tensorflow as tf
        >>> import sogclr_tf
        >>> loss = sogclr_tf.RobustGlobalContrastiveLoss(num_examples=1000, temperature=0.1)
        >>> a, b = tf.random.stateless_normal([2, 64, 128], seed=[1, 2])
        >>> for step in range(2):
        ...     value = loss(a, b, tf.range(64))
        >>> seen, others = tf.split(loss.temperatures, [64, 936])
        >>> bool(tf.reduce_all(seen != 0.1)), bool(tf.reduce_all(others == 0.1))
        (True, True)
    """

    options = (
        *GlobalContrastiveLoss.options,
        "rho",
        "eta",
        "beta",
        "min_temperature",
        "max_temperature",
    )

    def __init__(
        self,
        num_examples: int,
        temperature: float = 0.1,
        *,
        rho: float = 0.3,
        eta: float = 0.01,
        beta: float = 0.9,
        min_temperature: float = 0.05,
        max_temperature: float = 0.7,
        name: str = "isogclr",
        **kwargs: Any,
    ) -> None:
        super().__init__(num_examples, temperature, name=name, **kwargs)
        learned_temperature.check_bounds(temperature, min_temperature, max_temperature)
        learned_temperature.check_descent(rho, eta, beta)
        self.rho = float(rho)
        self.eta = float(eta)
        self.beta = float(beta)
        self.min_temperature = float(min_temperature)
        self.max_temperature = float(max_temperature)
        self._temperatures = table.add_table(
            self, self.num_examples, name="temperatures", initial=self.temperature
        )
        self._velocities = table.add_table(
            self, self.num_examples, name="temperature_velocities", initial=0.0
        )

    @property
    def temperatures(self) -> tf.Variable:
        """The temperature of every example: tf.Variable float32 [num_examples]."""
        return self._temperatures.value

    def temperatures_and_rho(self, index: tf.Tensor) -> tuple[float | tf.Tensor, float]:
        return tf.gather(self.temperatures, index), self.rho

    def compute(self, compared: Similarities, index: tf.Tensor, training: bool) -> tf.Tensor:
        temperature = tf.fill(tf.shape(compared.positive), self.temperature)
        if training:
            temperature = tf.tile(table.read(self._temperatures, index), [2])
        log_g = compared.log_mean_exp(temperature)
        log_u = tf.stop_gradient(log_g)
        if training:
            positive = tf.stop_gradient(compared.positive) / temperature
            log_u, rows = self._normalizer.update(index, log_u, positive)
            slope = learned_temperature.slopes(compared, temperature, log_g, log_u, self.rho)
            table.record(index, rows + self._descend(index, slope))
        return global_loss(compared, temperature, log_g, log_u, self.rho)

    def _descend(
        self, index: tf.Tensor, slope: tf.Tensor
    ) -> list[tuple[keras.Variable, tf.Tensor]]:
        """One step of the temperatures: the rows to store."""
        of_a, of_b = tf.split(slope, 2)
        temperature, velocity = temperature_steps.descend(
            table.read(self._temperatures, index),
            table.read(self._velocities, index),
            (of_a + of_b) / 2,
            eta=self.eta,
            beta=self.beta,
            bounds=(self.min_temperature, self.max_temperature),
        )
        return [(self._temperatures, temperature), (self._velocities, velocity)]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rho": self.rho,
            "eta": self.eta,
            "beta": self.beta,
            "min_temperature": self.min_temperature,
            "max_temperature": self.max_temperature,
        }
