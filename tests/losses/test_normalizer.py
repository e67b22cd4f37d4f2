"""The rules for the weight of a batch in the table, and the drift that entries share."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close, close
from support.reference import (
    GlobalContrastive,
    RobustGlobalContrastive,
    TwoWayGlobalContrastive,
    numeric_gradient,
)

from sogclr_tf.losses.registry import build_loss

N, BATCH, WIDTH, STEPS, TEMPERATURE = 12, 5, 8, 6, 0.2
GAMMA = 0.3
RULES = {
    "visits": {"gamma_rule": "visits"},
    "proximal": {"gamma_rule": "proximal", "gamma_shift": 1.5},
    "drift": {"drift_rate": 0.1},
    "visits, drift": {"gamma_rule": "visits", "drift_rate": 0.2},
    "proximal, drift": {"gamma_rule": "proximal", "gamma_shift": 1.5, "drift_rate": 0.05},
}
TABLES = {"sogclr": ["log_u"], "isogclr": ["log_u"], "two_way": ["log_u_a", "log_u_b"]}
FIXED = {"isogclr": {"eta": 0.0}}


def build(name, rule):
    options = {"gamma": GAMMA, **FIXED.get(name, {}), **RULES[rule]}
    return build_loss(name, N, temperature=TEMPERATURE, **options)


def reference(name, rule):
    ours = {"gamma_rule": "rule", "gamma_shift": "shift", "drift_rate": "drift_rate"}
    options = {ours[key]: value for key, value in RULES[rule].items()}
    if name == "isogclr":
        args = (N, TEMPERATURE, GAMMA, 0.3, 0.0, 0.9, (0.05, 0.7))
        return RobustGlobalContrastive(*args, **options)
    kind = TwoWayGlobalContrastive if name == "two_way" else GlobalContrastive
    return kind(N, TEMPERATURE, GAMMA, **options)


def batches(count=STEPS):
    random = np.random.default_rng(3)
    for _ in range(count):
        a = random.normal(size=(BATCH, WIDTH)).astype(np.float32)
        b = a + 0.5 * random.normal(size=(BATCH, WIDTH)).astype(np.float32)
        yield a, b, random.permutation(N)[:BATCH].astype(np.int32)


def tables(loss, name):
    return np.stack([np.asarray(getattr(loss, table)) for table in TABLES[name]])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", TABLES)
def test_equals_the_loop_over_visits(name, rule):
    loss, loop = build(name, rule), reference(name, rule)
    for a, b, index in batches():
        a, b = tf.constant(a), tf.constant(b)
        with tf.GradientTape() as tape:
            tape.watch([a, b])
            value = loss(a, b, index)
        of_a, of_b = tape.gradient(value, [a, b])
        want, surrogate, *_ = loop.step(a.numpy(), b.numpy(), index)
        assert float(value) == close(want, at_least=1)
        assert_close(tables(loss, name), np.atleast_2d(loop.log_u))
        assert_close(of_a, numeric_gradient(lambda x, f=surrogate, b=b: f(x, b.numpy()), a.numpy()))
        assert_close(of_b, numeric_gradient(lambda x, f=surrogate, a=a: f(a.numpy(), x), b.numpy()))


@pytest.mark.parametrize("name", TABLES)
def test_xla_equals_eager(name):
    eager, compiled = (build(name, "proximal, drift") for _ in range(2))
    step = tf.function(compiled, jit_compile=True)
    for a, b, index in batches():
        assert float(step(a, b, index)) == close(float(eager(a, b, index)), at_least=1)
    assert_close(tables(compiled, name), tables(eager, name))


@pytest.mark.parametrize("rule", ["visits", "drift"])
@pytest.mark.parametrize("name", TABLES)
def test_a_checkpoint_holds_all_of_it(name, rule, tmp_path):
    whole, first, again = (build(name, rule) for _ in range(3))
    seen = list(batches())
    for batch in seen:
        whole(*batch)
    for batch in seen[:3]:
        first(*batch)
    path = tf.train.Checkpoint(loss=first).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(loss=again).restore(path).assert_consumed()
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(first))
    for mine, other in zip(first.weights, copy.weights, strict=True):
        other.assign(mine)
    for loss in (again, copy):
        for batch in seen[3:]:
            loss(*batch)
        np.testing.assert_array_equal(tables(loss, name), tables(whole, name))


def test_by_visits_an_entry_is_the_mean_of_its_batches():
    loss = build_loss("two_way", N, temperature=TEMPERATURE, gamma=1e-6, gamma_rule="visits")
    single = build_loss("two_way", N, temperature=TEMPERATURE, gamma=1.0)
    visits = []
    for a, b, _ in batches():
        index = np.arange(BATCH)
        loss(a, b, index)
        single(a, b, index)
        visits.append(np.exp(tables(single, "two_way")[:, :BATCH]))
    assert_close(np.exp(tables(loss, "two_way")[:, :BATCH]), np.mean(visits, axis=0))


def test_a_batch_moves_the_entries_that_are_not_in_it():
    """All similarities 1 and then 0, so that g falls from e to 1 for every example."""
    alike, apart = np.ones((2, 2), np.float32), np.eye(2, dtype=np.float32)
    loss = build_loss("sogclr", 4, temperature=1.0, gamma=1.0, drift_rate=0.2)
    loss(alike, alike, np.array([0, 1]))
    loss(alike, alike, np.array([2, 3]))
    assert_close(loss.log_u, np.ones(4))
    loss(apart, apart, np.array([0, 1]))
    waiting = 1 + np.log(0.8 + 0.2 / np.e)
    assert_close(loss.log_u, [0, 0, waiting, waiting], terms=16)


def test_one_anchor_far_off_moves_the_others_by_a_step_at_most():
    loss = build_loss("two_way", 4, temperature=0.01, gamma=0.5, drift_rate=0.1)
    near, far = np.eye(2, dtype=np.float32), np.array([[1, 0], [1, 1e-3]], np.float32)
    loss(near, near, np.array([0, 1]))
    loss(near, near, np.array([2, 3]))
    before = np.array(loss.log_u_a)
    # Their g grows by a factor of exp(100).
    loss(far, far[::-1].copy(), np.array([0, 1]))
    after = np.array(loss.log_u_a)
    assert np.isfinite(after).all()
    assert (after[2:] - before[2:] <= np.log(2)).all()


@pytest.mark.parametrize("rule", RULES)
def test_held_out_images_change_nothing(rule):
    loss = build("sogclr", rule)
    for batch in batches(3):
        loss(*batch)
    before = [np.array(weight) for weight in loss.weights]
    loss(*next(batches()), training=False)
    for weight, old in zip(loss.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma_rule": "mean"}, "gamma_rule 'mean': choose one of constant, visits, proximal"),
        (
            {"gamma_rule": "visits"},
            "gamma is 0.9, the least weight of a batch, which leaves .*0.1$",
        ),
        ({"gamma_shift": np.inf}, "gamma_shift is inf: it must be a finite number"),
        ({"drift_rate": 0.5}, r"drift_rate is 0.5: it must lie in \[0, 0.2\]"),
        ({"drift_rate": np.nan}, r"drift_rate is nan: it must lie in \[0, 0.2\]"),
    ],
)
@pytest.mark.parametrize("name", TABLES)
def test_wrong_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_loss(name, N, **options)
