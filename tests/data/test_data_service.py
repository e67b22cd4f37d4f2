"""A dispatcher and two workers on loopback make the views that this process would make."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from support.exhaustive import exhaustive
from support.files import write_folder, write_shards

from sogclr_tf import Policy, training_views

N, BATCH = 50, 8
POLICY = Policy(size=6, blur=0.3)


SERVERS = """
import time
import tensorflow as tf

service = tf.data.experimental.service
dispatcher = service.DispatchServer(service.DispatcherConfig(port=0))
host = dispatcher.target.partition("://")[2]
workers = [service.WorkerServer(service.WorkerConfig(host)) for _ in range(2)]
print(dispatcher.target, flush=True)
time.sleep(3600)
"""


@pytest.fixture(scope="module")
def address():
    """Of a process of its own, which knows TensorFlow alone."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVERS],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield process.stdout.readline().strip()
        process.kill()


TRACED = pytest.mark.slow(reason="the same code on another source, traced anew")


OTHERS = exhaustive(["records"], ["folder", "records"])


@pytest.fixture(params=["array", *(pytest.param(x, marks=TRACED) for x in OTHERS)])
def collection(request, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (N, 9, 8, 3), dtype=np.uint8)
    if request.param == "folder":
        return write_folder(tmp_path / "images", images)
    if request.param == "records":
        return write_shards(tmp_path, images, np.zeros(N))
    return images


def by_index(batches):
    found = {}
    for batch in batches.as_numpy_iterator():
        for index, *views in zip(batch["index"], batch["view_a"], batch["view_b"], strict=True):
            assert index not in found
            found[int(index)] = np.stack(views)
    return found


@pytest.mark.slow(reason="a tf.data service is read in whole")
def test_each_index_once_with_the_same_pixels(address, collection):
    options = {"policy": POLICY, "seed": 3}
    local = by_index(training_views(collection, batch_size=2, **options).epoch(1))
    made = training_views(collection, batch_size=BATCH, service=address, **options)
    got = by_index(made.epoch(1))
    assert len(local) == N
    assert len(got) == N // BATCH * BATCH
    for index, views in got.items():
        np.testing.assert_array_equal(views, local[index])


@TRACED
def test_epochs_and_the_step_to_go_on_from(address):
    images = np.zeros((N, 9, 8, 3), np.uint8)
    made = training_views(images, batch_size=BATCH, policy=POLICY, service=address)
    steps = made.steps_per_epoch
    assert made.epoch(0).element_spec["view_a"].shape == (BATCH, 6, 6, 3)
    rest = made.stream(2)
    assert len(by_index(rest.take(steps - 2))) == (steps - 2) * BATCH
    assert len(by_index(rest.skip(steps - 2).take(steps))) == steps * BATCH


def test_several_hosts_are_refused(address):
    made = training_views(np.zeros((9, 4, 4, 3), np.uint8), batch_size=4, service=address)
    with pytest.raises(ValueError, match="on 2 hosts: a tf.data service serves one host"):
        made.stream(0, tf.distribute.InputContext(2, 0, 2))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("10.0.0.2:5050", "service is '10.0.0.2:5050': expected the dispatcher's address, grpc://"),
        ("grpc://here", "expected the dispatcher's address"),
        ("grpc://127.0.0.1:1", "no dispatcher of a tf.data service answers at grpc://127.0.0.1:1"),
    ],
)
def test_a_wrong_address_is_told_at_once(wrong, message):
    with pytest.raises(ValueError, match=message):
        training_views(np.zeros((9, 4, 4, 3), np.uint8), batch_size=4, service=wrong)
