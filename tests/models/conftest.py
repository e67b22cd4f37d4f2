"""TPUStrategy itself, over cores that do not exist."""

import pytest
import tensorflow as tf
from support.tpu_steps import CORES, StandIn


@pytest.fixture(scope="module")
def tpu():
    # Soft placement, TensorFlow's default, puts the variables of missing cores on the CPU.
    assert tf.config.get_soft_device_placement()
    return tf.distribute.TPUStrategy(StandIn(CORES))


@pytest.fixture(scope="module")
def one_core():
    return tf.distribute.TPUStrategy(StandIn(1))
