"""Learning rates: their scaling with the batch size, and their course over training."""

import math
from typing import Any, Self

import keras


def scaled_learning_rate(base: float, batch_size: int, rule: str) -> float:
    """Returns the learning rate, a float, for a global batch of `batch_size` examples.

    >>> scaled_learning_rate(0.075, 256, "sqrt")
    1.2
    >>> scaled_learning_rate(0.3, 512, "linear")
    0.6
    >>> scaled_learning_rate(1.0, 64, "constant")
    1.0

    Args:
        base: float, the rate before scaling.
        batch_size: examples in the batch over all replicas, int >= 1.
        rule: "sqrt", base * sqrt(batch_size), best for small batches (SimCLR, arXiv 2002.05709,
            appendix B.1); "linear", base * batch_size / 256; or "constant", base.

    Raises:
        ValueError: for an unknown rule or a batch size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}; give a number of at least 1.")
    factors = {"sqrt": math.sqrt(batch_size), "linear": batch_size / 256, "constant": 1.0}
    if rule not in factors:
        raise ValueError(
            f"Learning rate rule {rule!r} is unknown; choose one of {', '.join(factors)}."
        )
    return base * factors[rule]


def warmup_cosine(
    peak: float, *, total_steps: int, warmup_steps: int, gradient_accumulation_steps: int = 1
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns a schedule: from 0 in a line up to `peak`, then along a half cosine down to 0.

    For peak=1.0, total_steps=100, warmup_steps=10:

        step    0    1    9      10    11      55    99      100  101
        rate    0  0.1  0.9   1.000  0.9997   0.5  0.0003     0    0

    So the first step, number 0, moves nothing (as in SimCLR), unless warmup_steps is 0: then step
    0 is at the peak.

    Args:
        peak: float > 0, the highest learning rate.
        total_steps: updates of the weights in the whole of training, warm-up included, int >= 1.
        warmup_steps: updates of the weights in the warm-up, int in 0..total_steps - 1.
        gradient_accumulation_steps: that of the optimizer, int >= 1: gradients of how many batches
            make one update. Keras shows a schedule every batch; this one is held for as many.

    Returns:
        A `keras.optimizers.schedules.CosineDecay`, or a `PerUpdate` of it where gradients are
        accumulated; both are serializable: step -> float32 scalar.

    Raises:
        ValueError: if a number is outside its range.

    Examples:
        >>> import sogclr_tf
        >>> rate = sogclr_tf.warmup_cosine(0.1, total_steps=1000, warmup_steps=100)
        >>> [round(float(rate(step)), 3) for step in (0, 50, 100, 550, 1000)]
        [0.0, 0.05, 0.1, 0.05, 0.0]
    """
    if not peak > 0:
        raise ValueError(f"peak is {peak!r}; give a learning rate > 0.")
    if total_steps < 1:
        raise ValueError(f"total_steps is {total_steps!r}; give at least 1.")
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(
            f"warmup_steps is {warmup_steps!r}; give a number in 0..{total_steps - 1}, "
            f"fewer than total_steps={total_steps}."
        )
    decay_steps = total_steps - warmup_steps
    if warmup_steps == 0:
        schedule = keras.optimizers.schedules.CosineDecay(float(peak), decay_steps)
    else:
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, decay_steps, warmup_target=float(peak), warmup_steps=warmup_steps
        )
    if gradient_accumulation_steps == 1:
        return schedule
    return PerUpdate(schedule, gradient_accumulation_steps)


@keras.saving.register_keras_serializable(package="sogclr_tf")
class PerUpdate(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule over the updates of an optimizer that accumulates gradients.

    Keras asks schedules for the rate of every call of the optimizer, of which
    `gradient_accumulation_steps` make one update: all of these have the rate that `schedule` gives
    to the number of the update.

    Args:
        schedule: a `LearningRateSchedule` whose step is an update.
        gradient_accumulation_steps: that of the optimizer, int >= 1.

    Raises:
        ValueError: the number of steps is out of range.
    """

    def __init__(
        self,
        schedule: keras.optimizers.schedules.LearningRateSchedule,
        gradient_accumulation_steps: int,
    ) -> None:
        super().__init__()
        steps = gradient_accumulation_steps
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(f"gradient_accumulation_steps is {steps!r}; give an int >= 1.")
        self.schedule = schedule
        self.gradient_accumulation_steps = steps

    def __call__(self, step: Any) -> Any:
        return self.schedule(keras.ops.floor_divide(step, self.gradient_accumulation_steps))

    def get_config(self) -> dict[str, Any]:
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["gradient_accumulation_steps"])
