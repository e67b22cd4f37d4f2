"""The same training on one device and on several: the global batch is what counts."""

import json
import os
import socket

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import processes
from support.equivalence import CASES
from support.exhaustive import exhaustive
from support.numerics import assert_close, close
from support.paths import SUPPORT

import sogclr_tf

SCRIPT = SUPPORT / "equivalence.py"
# What is trained on so many devices, and by two workers.
FEW = ["sogclr", "isogclr", "two_way_individual", "two_tower"]
CASES_ON = exhaustive(
    {8: ["sogclr", "two_tower"]}, {2: CASES, 4: ["sogclr", "two_tower"], 8: CASES}
)
ON_WORKERS = exhaustive([*FEW, "averaged"], CASES)
# Two models on one strategy, and one of another width on a second.
SECOND_STRATEGY = """
import keras
import numpy as np
import tensorflow as tf
import sogclr_tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)
first = sogclr_tf.build_strategy("mirrored")
second = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for number, strategy in enumerate([first, sogclr_tf.build_strategy("mirrored"), second], start=1):
    with strategy.scope():
        layers = [keras.layers.Flatten(), keras.layers.Dense(number)]
        encoder = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        model = sogclr_tf.SogCLR(encoder, sogclr_tf.NTXentLoss())
        model.compile("sgd", jit_compile=False)
    model.fit(sogclr_tf.training_views(images, batch_size=8), verbose=0)
    print("trained", number, flush=True)
"""
# What has state of its own in a checkpoint, beside the networks.
WITH_STATE = exhaustive(["isogclr", "two_tower"], FEW)
SEVERAL = f"--devices={exhaustive(2, 8)}"
CUT = exhaustive(["sogclr", "two_tower"], CASES)


def trained_arrays(path, *options):
    """What `equivalence.py` writes with the options."""
    process = processes.run(SCRIPT, path, *options, timeout=600)
    assert process.returncode == 0, process.stderr
    with np.load(path) as file:
        return dict(file)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """trained(devices): what `equivalence.py` wrote, run once per number of devices."""
    folder, made = tmp_path_factory.mktemp("equivalence"), {}

    def run(devices):
        if devices not in made:
            cases = f"--cases={','.join(CASES_ON.get(devices, ON_WORKERS))}"
            path = folder / f"{devices}.npz"
            made[devices] = trained_arrays(path, f"--devices={devices}", cases)
        return made[devices]

    return run


# Additions behind a kernel's entry: of 2 views of 16 examples at 9 places each, in 5 steps.
ADDED = 2 * 16 * 9 * 5


def assert_equal(many, one, name):
    """Everything of the case called `name` is the same, of as many steps as both show."""
    keys = [key for key in many if key.startswith(f"{name}/")]
    assert len(keys) > 10
    assert_same(many, one, keys)


def assert_same(many, one, keys):
    for key in keys:
        want = one[key][-len(many[key]) :] if many[key].ndim else one[key]
        # What is 0 but for rounding, such as a key's bias, is moved by activations of about 1. The
        # probe's Adam divides a gradient by its own size, which may be small beside the features.
        at_least = 0.2 if "probe" in key else 1e-3
        assert_close(many[key], want, ADDED, at_least=at_least, name=key)


@pytest.mark.slow(reason="a model of each kind, on one device and on two")
def test_one_model_of_each_kind_on_two_devices(tmp_path):
    """Quick: the other losses are held to one device by `tests/losses/test_replicas.py`."""
    cases = ["sogclr", "two_tower"]
    options = [f"--cases={','.join(cases)}", "--steps=2"]
    many, one = (
        trained_arrays(tmp_path / f"{devices}.npz", f"--devices={devices}", *options)
        for devices in (2, 1)
    )
    for name in cases:
        assert_equal(many, one, name)


traced = pytest.mark.slow(reason="every case is traced anew for each number of devices")


@traced
@pytest.mark.parametrize(
    ("devices", "name"), [(devices, name) for devices, names in CASES_ON.items() for name in names]
)
def test_replicas_equal_one_device(trained, devices, name):
    many, one = trained(devices), trained(1)
    assert {key for key in one if key.startswith(f"{name}/")} <= set(many)
    assert_equal(many, one, name)


@traced
def test_without_the_gradient_of_the_gather_replicas_would_differ(trained, tmp_path):
    """A mutation, which shows that the test above sees what it is there to see."""
    options = "--devices=2", "--cut", f"--cases={','.join(CUT)}"
    cut, whole = trained_arrays(tmp_path / "cut.npz", *options), trained(1)
    for name in CUT:
        assert cut[f"{name}/loss"][0] == close(whole[f"{name}/loss"][0], ADDED)
        gradients = [key for key in whole if key.startswith(f"{name}/gradient of")]
        assert gradients
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            assert_same(cut, whole, gradients)


@traced
def test_with_plain_batch_normalization_replicas_differ_and_say_so(trained, tmp_path):
    """What `sogclr_tf.synchronize_batch_norm`, which all other cases call, is there for."""
    options = tmp_path / "plain.npz", "--devices=2", "--plain", "--cases=sogclr"
    process = processes.run(SCRIPT, *options, timeout=600)
    assert process.returncode == 0, process.stderr
    assert "1 trainable BatchNormalization layers (batch_normalization) take" in process.stderr
    with np.load(options[0]) as plain, pytest.raises(AssertionError, match="Not equal"):
        assert_equal(dict(plain), trained(1), "sogclr")


@traced
def test_a_second_strategy_is_refused_in_one_line(tmp_path):
    """TensorFlow aborts its first step, and all collectives after it."""
    program = tmp_path / "second.py"
    program.write_text(SECOND_STRATEGY)
    process = processes.run(program, timeout=300)
    assert process.returncode == 1
    assert process.stderr.strip().splitlines()[-1] == (
        "ValueError: another MirroredStrategy of this process has trained a model, and TensorFlow "
        "mixes up the exchanges of two: make one strategy and use it for all models (start Python "
        "anew where it is lost)"
    )
    assert process.stdout == "trained 1\ntrained 2\n"


@traced
def test_checkpoints_go_from_one_device_to_several_and_back(trained, tmp_path):
    options = f"--folder={tmp_path / 'checkpoints'}", f"--cases={','.join(WITH_STATE)}"
    trained_arrays(tmp_path / "first.npz", "--devices=1", "--steps=2", *options)
    trained_arrays(tmp_path / "second.npz", SEVERAL, "--steps=3", *options)
    last = trained_arrays(tmp_path / "last.npz", "--devices=1", *options)
    for name in WITH_STATE:
        assert len(last[f"{name}/loss"]) == 2
        assert_equal(last, trained(1), name)


def arrays_of_two_workers(folder, *options):
    """What each of two processes on this machine wrote, joined by MultiWorkerMirroredStrategy."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    workers = []
    for index in range(2):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(task)}
        path = folder / f"{index}.npz"
        workers.append(processes.Process(SCRIPT, path, *options, env=environment))
    try:
        errors = [worker.communicate(timeout=600)[1] for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0], errors
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


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    cases = f"--cases={','.join(ON_WORKERS)}"
    return arrays_of_two_workers(tmp_path_factory.mktemp("workers"), cases)


@traced
@pytest.mark.parametrize("name", ON_WORKERS)
def test_workers_equal_one_device(trained, two_workers, name):
    for many in two_workers:
        assert_equal(many, trained(1), name)


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
