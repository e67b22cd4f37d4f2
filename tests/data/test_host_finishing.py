"""The order of operations; what they make of an image is in `test_augment.py`."""

import itertools

import numpy as np
import tensorflow as tf

from sogclr_tf.data.host_finishing import _order


def test_order_is_that_of_a_stable_sort():
    """Of all arrangements of four times, equal ones and such that never come among them."""
    order = tf.function(_order)
    for times in itertools.product([0.0, 0.5, 1.0, 9.0], repeat=4):
        found = order(tf.constant(times))
        np.testing.assert_array_equal(found, np.argsort(times, kind="stable"))
