"""Learning rates: their scaling with the batch size, and their course over training."""

import math

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
    peak: float, *, total_steps: int, warmup_steps: int
) -> keras.optimizers.schedules.CosineDecay:
    """Returns a schedule: from 0 in a line up to `peak`, then along a half cosine down to 0.

    For peak=1.0, total_steps=100, warmup_steps=10:

        step    0    1    9      10    11      55    99      100  101
        rate    0  0.1  0.9   1.000  0.9997   0.5  0.0003     0    0

    So the first step, number 0, moves nothing (as in SimCLR), unless warmup_steps is 0: then step
    0 is at the peak.

    Args:
        peak: float > 0, the highest learning rate.
        total_steps: optimizer steps in the whole of training, warm-up included, int >= 1.
        warmup_steps: optimizer steps of the warm-up, int in 0..total_steps - 1.

    Returns:
        A `keras.optimizers.schedules.CosineDecay`, serializable: step -> float32 scalar.

    Raises:
        ValueError: if a number is outside its range.
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
        return keras.optimizers.schedules.CosineDecay(float(peak), decay_steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps, warmup_target=float(peak), warmup_steps=warmup_steps
    )
