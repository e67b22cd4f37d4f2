"""The temperatures of the two-way loss: constant, learned as one of all, or one for each anchor."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from sogclr_tf.losses import learned_temperature, replica, table, temperature_steps
from sogclr_tf.losses.base import ContrastiveLoss
from sogclr_tf.losses.similarities import Similarities

SCHEMES = ("constant", "global", "individual", "unscaled")
_OF_ALL = ("global", "unscaled")
# The tables of examples' temperatures, by what moves them: (attribute, name of the weight, start).
_VELOCITIES = ("velocities", "temperature_velocities", 0.0)
_TABLES: dict[str | None, tuple] = {
    None: (_VELOCITIES,),
    "adam": (
        _VELOCITIES,
        ("squares", "temperature_squares", 0.0),
        ("steps", "temperature_steps", 0.0),
    ),
}


class TwoWayTemperatures(ContrastiveLoss):
    """What `TwoWayGlobalContrastiveLoss` knows of its temperatures, and how they move.

    A subclass sets `num_examples` and `num_captions` and calls `_set_temperatures`, and
    `_add_temperatures` behind its own tables.
    """

    num_examples: int

    @property
    def temperatures_a(self) -> tf.Variable:
        """With "individual", the images' temperatures: tf.Variable float32 [num_examples]."""
        return self._temperatures_a.value

    @property
    def temperatures_b(self) -> tf.Variable:
        """With "individual", the texts' temperatures: tf.Variable float32, one each."""
        return self._temperatures_b.value

    @property
    def learned_temperature(self) -> tf.Tensor:
        """With "global" and "unscaled", the temperature as it is by now: tf.Tensor float32 []."""
        return tf.exp(self._log_temperature)

    def loss_and_metrics(
        self, a: tf.Tensor, b: tf.Tensor, index: tf.Tensor, training: bool = True
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """As in `ContrastiveLoss`; a learned temperature is logged, the batch's mean of several."""
        loss, metrics = super().loss_and_metrics(a, b, index, training=training)
        if "temperature" in self.metric_names:
            metrics["temperature"] = tf.reduce_mean(self._temperature_of(index, training))
        return loss, metrics

    def temperatures_and_rho(self, index: tf.Tensor) -> tuple[float | tf.Tensor, float]:
        return self._temperature_of(index, training=True), self._rho

    def mean_temperature(self) -> float:
        if self.temperature_scheme != "individual":
            return super().mean_temperature()
        every = tf.concat([self.temperatures_a, self.temperatures_b], axis=0)
        return float(tf.exp(tf.reduce_mean(tf.math.log(every))))

    def check_accumulation(self, batches: int) -> None:
        if batches > 1 and self._steps_of_all():
            raise ValueError(
                f"gradient_accumulation_steps is {batches}, but with temperature_optimizer "
                f"'{self.temperature_optimizer}' the loss moves its temperature at every batch: "
                "leave out one of them"
            )

    @property
    def _rho(self) -> float:
        """rho where it is a part of F."""
        return self.rho if self.temperature_scheme in ("global", "individual") else 0.0

    def _set_temperatures(
        self,
        scheme: str,
        optimizer: str | None,
        rho: float,
        eta: float,
        beta: float,
        bounds: tuple[float, float],
    ) -> None:
        """Takes the options of the temperatures; ValueError where one is out of range."""
        learned_temperature.check_scheme(scheme, SCHEMES)
        learned_temperature.check_descent(rho, eta, beta)
        temperature_steps.check_optimizer(optimizer, scheme)
        if scheme != "constant":
            learned_temperature.check_bounds(self.temperature, *bounds)
        self.temperature_scheme = scheme
        self.temperature_optimizer = optimizer
        self.rho, self.eta, self.beta = map(float, (rho, eta, beta))
        self.min_temperature, self.max_temperature = map(float, bounds)

    def _add_temperatures(self) -> None:
        """Makes the weights of learned temperatures."""
        if self.temperature_scheme == "constant":
            return
        self.metric_names = (*self.metric_names, "temperature")
        if self.temperature_scheme == "individual":
            self._add_tables("temperatures", "temperatures", self.temperature)
            for attribute, name, initial in _TABLES[self.temperature_optimizer]:
                self._add_tables(attribute, name, initial)
            return
        self._log_temperature = learned_temperature.add_log_temperature(
            self, self.temperature, *self._bounds(), trainable=not self._steps_of_all()
        )
        if self._steps_of_all():
            for name in temperature_steps.STATE_OF_ALL:
                weight = temperature_steps.add_state_of_all(self, name)
                setattr(self, f"_temperature_{name}", weight)

    def _steps_of_all(self) -> bool:
        """Whether the loss itself moves the one temperature of all."""
        return self.temperature_optimizer is not None and self.temperature_scheme in _OF_ALL

    def _temperature_of(self, index: tf.Tensor, training: bool) -> tf.Tensor:
        """The temperature of this replica's anchors: float32, [2b] or a scalar for all."""
        if self.temperature_scheme in _OF_ALL:
            return self.learned_temperature
        if self.temperature_scheme == "individual" and training:
            return self._read(index, "temperatures")
        return tf.constant(self.temperature)

    def _slopes(
        self, compared: Similarities, temperature: tf.Tensor, log_g: tf.Tensor, log_u: tf.Tensor
    ) -> float | tf.Tensor:
        """The derivative of each anchor's part of F by its temperature: float32 [2b], or 0."""
        if self.temperature_scheme == "constant":
            return 0.0
        if self.temperature_scheme == "unscaled":
            return learned_temperature.unscaled_slopes(compared, temperature, log_g, log_u)
        return learned_temperature.slopes(compared, temperature, log_g, log_u, self.rho)

    def _move(
        self, index: tf.Tensor, temperature: tf.Tensor, slope: float | tf.Tensor
    ) -> list[tuple[keras.Variable, tf.Tensor]]:
        """Takes the step that is the loss's own; [(table, float32 [b])], what is to be recorded."""
        if self._steps_of_all():
            temperature_steps.step_of_all(
                self._log_temperature,
                [getattr(self, f"_temperature_{name}") for name in temperature_steps.STATE_OF_ALL],
                replica.mean(temperature * slope),
                eta=self.eta,
                bounds=(math.log(self.min_temperature), math.log(self.max_temperature)),
            )
        if self.temperature_scheme != "individual":
            return []
        names = ["temperatures", *(name for name, *_ in _TABLES[self.temperature_optimizer])]
        temperature, *state = (self._read(index, name) for name in names)
        eta, bounds = self.eta, self._bounds()
        if self.temperature_optimizer is None:
            temperature, *state = temperature_steps.descend(
                temperature, state[0], slope, eta=eta, beta=self.beta, bounds=bounds
            )
        else:
            temperature, state = temperature_steps.adam_of_examples(
                temperature, state, slope, eta=eta, bounds=bounds
            )
        return self._rows(dict(zip(names, (temperature, *state), strict=True)))

    def _bounds(self) -> tuple[float, float]:
        return self.min_temperature, self.max_temperature

    def _read(self, index: tf.Tensor, name: str) -> tf.Tensor:
        """The entries of both sides' tables: float32 [2b], those of a, then those of b."""
        return tf.concat([table.read(side, index) for side in self._both(name)], axis=0)

    def _rows(self, values: dict[str, tf.Tensor]) -> list[tuple[keras.Variable, tf.Tensor]]:
        """[(table, float32 [b])] of both sides, to record, from {name: float32 [2b]}."""
        return [
            row
            for name, of_both in values.items()
            for row in zip(self._both(name), tf.split(of_both, 2), strict=True)
        ]

    def _both(self, name: str) -> Sequence[keras.Variable]:
        return [getattr(self, f"_{name}_{side}") for side in "ab"]

    def _add_tables(self, attribute: str, name: str, initial: float) -> None:
        """Gives each side a table, an attribute of the loss by which checkpoints know it."""
        for side, captions in (("a", None), ("b", self.num_captions)):
            rows = captions or self.num_examples
            made = table.add_table(
                self, rows, f"{name}_{side}", initial, of_captions=captions is not None
            )
            setattr(self, f"_{attribute}_{side}", made)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_examples": self.num_examples,
            "num_captions": self.num_captions,
            **{name: getattr(self, name) for name in self.options},
        }
