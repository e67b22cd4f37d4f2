"""Every loss on two replicas and on one device: value, gradients and tables of the global batch."""

import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close

from sogclr_tf.losses import replica
from sogclr_tf.losses.registry import build_loss, loss_names

N, BATCH, WIDTH, STEPS = 12, 8, 6, 3
LEARNED = {"temperature_scheme": "global", "temperature": 0.5, "rho": 1.0}
# Between them they take every path that differs across replicas.
OPTIONS = {
    "dcl": {"negatives": "other"},
    "sogclr": {"gamma_decay_steps": STEPS},
    "sogclr/rules": {"gamma_rule": "visits", "drift_rate": 0.1, "gamma": 0.3},
    "isogclr": {"eta": 0.05, "gamma": 0.5},
    "two_way": {**LEARNED, "gamma_decay_steps": STEPS},
    "two_way/individual": {
        **LEARNED,
        "temperature_scheme": "individual",
        "temperature_optimizer": "adam",
        "gamma": 0.5,
    },
    "two_way/adam": {
        **LEARNED,
        "temperature_scheme": "unscaled",
        "temperature_optimizer": "adam",
        "epsilon": 0.1,
    },
    "two_way/rules": {"gamma_rule": "proximal", "drift_rate": 0.1, "gamma": 0.3},
    "two_way/captions": {
        **LEARNED,
        "temperature_scheme": "individual",
        "num_captions": 2 * N,
        "gamma_rule": "visits",
        "gamma": 0.3,
    },
    "siglip": {"temperature": 0.5, "bias": -1.0},
}
NAMES = [
    *(*loss_names(), "sogclr/rules", "two_way/individual", "two_way/adam", "two_way/rules"),
    *("two_way/captions", "clip/captions"),
]


@pytest.fixture(scope="module")
def two_replicas():
    # One for all: two of them in a process would share the keys of their collectives.
    return tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def steps(name, strategy):
    """{what: array} of some steps of a loss on batches that the replicas share out."""
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        loss = build_loss(name.partition("/")[0], N, **OPTIONS.get(name, {}))

    def share(values):
        place = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.reshape(values, (replicas, -1, *values.shape[1:]))[place]

    def one(a, b, index):
        a, b, index = share(a), share(b), share(index)
        with tf.GradientTape() as tape:
            tape.watch([a, b])
            value = loss(a, b, index)
        # The gradients of all replicas side by side are those of the global batch.
        return value, *map(replica.gather, tape.gradient(value, [a, b]))

    step = tf.function(lambda *batch: strategy.run(one, batch))
    found, random = {}, np.random.default_rng(0)
    for number in range(STEPS):
        a, b = random.normal(size=(2, BATCH, WIDTH)).astype(np.float32)
        index = random.permutation(N)[:BATCH].astype(np.int32)
        if name.endswith("captions"):
            # Every image has two, so that some come twice: on one replica, and on both.
            captions = random.permutation(2 * N)[:BATCH].astype(np.int32)
            index = np.stack([captions // 2, captions], axis=1)
        results = step(*map(tf.constant, (a, b, index)))
        for what, result in zip(("loss", "gradient of a", "gradient of b"), results, strict=True):
            for place, value in enumerate(strategy.experimental_local_results(result)):
                found[f"{what}, step {number}, replica {place}"] = value.numpy()
    for weight in loss.weights:
        for place, value in enumerate(strategy.experimental_local_results(weight.value)):
            found[f"{weight.name}, replica {place}"] = value.numpy()
    return found


def assert_same(many, one):
    assert len(many) == 2 * len(one)
    for key, value in many.items():
        # A gradient sums over the negatives of both replicas.
        assert_close(value, one[f"{key.rpartition(',')[0]}, replica 0"], 2 * BATCH, name=key)


@pytest.mark.parametrize("name", NAMES)
def test_two_replicas_equal_one_device(two_replicas, name):
    assert_same(steps(name, two_replicas), steps(name, tf.distribute.get_strategy()))


def test_without_the_gather_of_gradients_they_would_differ(two_replicas, monkeypatch):
    """A mutation, which shows that the test above sees what it is there to see."""
    one, gather = steps("sogclr", tf.distribute.get_strategy()), replica.gather
    monkeypatch.setattr(replica, "gather", lambda values: tf.stop_gradient(gather(values)))
    with pytest.raises(AssertionError, match="gradient of a"):
        assert_same(steps("sogclr", two_replicas), one)
