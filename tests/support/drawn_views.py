"""Views that are drawn by policies, for the tests of their operations."""

import numpy as np

from sogclr_tf.data import randomness
from sogclr_tf.data.randomness import _DRAWS

COUNT = 2000


def floats(count, height=6, width=5, seed=0):
    shape = (count, height, width, 3)
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def rows_with(count=1, **values):
    """Rows of draws, 0 but where named by an entry of the layout of draws."""
    rows = np.zeros((count, _DRAWS), np.float32)
    for name, value in values.items():
        rows[:, {**randomness.GEOMETRY, **randomness.COLOR}[name]] = value
    return rows
