"""What a step of a loss is given; NumPy alone, as peers have no TensorFlow."""

import numpy as np

BATCHES = 256


def inputs(batch, examples, width):
    """(a, b, batches): other examples in every step, so that none is cached.

    All of them are drawn from the whole table.

    Returns:
        a, b: float32 [batch, width].
        batches: list of int32 [batch], the examples of one step after another.
    """
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, batch, width)).astype(np.float32)
    return a, b, list(random.integers(0, examples, (BATCHES, batch)).astype(np.int32))
