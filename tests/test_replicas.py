"""The same training on one device and on several: the global batch is what counts."""

import json
import os
import pathlib
import socket
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


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    """What each of two processes on this machine wrote, joined by MultiWorkerMirroredStrategy."""
    folder = tmp_path_factory.mktemp("workers")
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    workers = []
    for index in range(2):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        command = [sys.executable, str(SCRIPT), "1", str(folder / f"{index}.npz")]
        environment = {**os.environ, "TF_CONFIG": json.dumps(task)}
        workers.append(subprocess.Popen(command, env=environment))
    try:
        assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    return [dict(np.load(folder / f"{index}.npz")) for index in range(2)]


def free_ports(count):
    """Ports that nobody listens on; held together, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


@pytest.mark.parametrize("name", objective_names())
def test_workers_equal_one_device(trained, two_workers, name):
    one = trained(1)
    for many in two_workers:
        for key in (key for key in one if key.startswith(f"{name}/")):
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
