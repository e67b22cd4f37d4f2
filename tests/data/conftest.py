"""What the tests of views share."""

import pytest
import tensorflow as tf
from support.drawn_views import COUNT

from sogclr_tf.data.randomness import draws


@pytest.fixture(scope="module")
def many_rows():
    """The first views' draws of COUNT examples."""
    return draws(5, tf.zeros([COUNT], tf.int64), tf.range(COUNT, dtype=tf.int64)).numpy()[:, 0]
