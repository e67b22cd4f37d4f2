"""The same training on one device and on several: the global batch is what counts."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import sogclr_tf
from sogclr_tf.objectives import objective_names

SCRIPT = pathlib.Path(__file__).parent / "equivalence.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """trained(devices): what `equivalence.py` wrote, run once per number of devices."""
    folder, made = tmp_path_factory.mktemp("equivalence"), {}

    def run(devices):
        if devices not in made:
            path = folder / f"{devices}.npz"
            command = [sys.executable, str(SCRIPT), str(devices), str(path)]
            subprocess.run(command, check=True, timeout=300)
            with np.load(path) as file:
                made[devices] = dict(file)
        return made[devices]

    return run


@pytest.mark.parametrize("name", objective_names())
@pytest.mark.parametrize("devices", [2, 4, 8])
def test_replicas_equal_one_device(trained, devices, name):
    one, many = trained(1), trained(devices)
    keys = [key for key in one if key.startswith(f"{name}/")]
    assert len(keys) > 10
    for key in keys:
        np.testing.assert_allclose(many[key], one[key], rtol=1e-5, atol=1e-5, err_msg=key)


def test_batch_must_divide_into_replicas():
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        model = sogclr_tf.SogCLR(encoder, sogclr_tf.NTXentLoss())
        model.compile(optimizer="sgd")
    views = sogclr_tf.training_views(np.zeros((9, 8, 8, 3), np.uint8), batch_size=3)
    with pytest.raises(ValueError, match="batch size 3 does not divide into 2 replicas"):
        model.fit(views)
