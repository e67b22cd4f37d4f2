"""The exact objective against loops, against dense float64, and within its memory."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from support.exhaustive import exhaustive
from support.numerics import assert_all_close, assert_close, close
from support.reference import global_objective, numeric_gradient
from support.small_model import IMAGES, N, model, views

import sogclr_tf
from sogclr_tf import exact_global_objective
from sogclr_tf.models import examples_check


def projections(count, width, seed=0):
    a, b = np.random.default_rng(seed).normal(size=(2, count, width)).astype(np.float32)
    return 3 * a, a + 0.5 * b


def dense(a, b, temperature, sides):
    """(F, its gradients by a and b) in float64, all similarities at once."""
    a, b = tf.constant(a, tf.float64), tf.constant(b, tf.float64)
    temperature = tf.constant(np.broadcast_to(temperature, len(a)), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        za, zb = (tf.math.l2_normalize(x, axis=1) for x in (a, b))
        values = []
        for own, other in ((za, zb), (zb, za)):
            compared = [tf.matmul(own, z, transpose_b=True) for z in (other, own)[:sides]]
            logits = [
                tf.linalg.set_diag(s / temperature[:, None], tf.fill(len(a), -np.float64(np.inf)))
                for s in compared
            ]
            log_g = tf.reduce_logsumexp(tf.concat(logits, 1), 1) - np.log(sides * (len(a) - 1))
            values.append(tf.reduce_mean(-tf.reduce_sum(za * zb, 1) + temperature * log_g))
        value = sum(values) / 2
    return float(value), [g.numpy() for g in tape.gradient(value, [a, b])]


class TestProjections:
    @pytest.mark.parametrize("negatives", ["both", "other"])
    @pytest.mark.parametrize("temperature", [0.02, 1.0, np.linspace(0.1, 0.5, 5)])
    def test_loop_form_and_finite_differences(self, temperature, negatives):
        a, b = projections(5, 3)
        got = exact_global_objective((a, b), temperature=temperature, negatives=negatives, block=3)
        want = global_objective(a, b, temperature, negatives)
        assert got.value == close(want, at_least=1)
        for place, gradient in enumerate(got.gradients):
            pair = [a, b]

            def value(x, pair=pair, place=place):
                return global_objective(
                    *(pair[:place] + [x] + pair[place + 1 :]), temperature, negatives
                )

            assert_close(gradient, numeric_gradient(value, pair[place]), terms=16)

    @pytest.mark.parametrize(("negatives", "sides"), [("both", 2), ("other", 1)])
    @pytest.mark.parametrize("block", [1, 37, 200, 1000])
    def test_dense_float64(self, block, negatives, sides):
        count = 20 if block == 1 else 150
        a, b = projections(count, 16)
        temperature = np.random.default_rng(1).uniform(0.05, 0.5, count).astype(np.float32)
        got = exact_global_objective(
            (a, b), temperature=temperature, negatives=negatives, block=block
        )
        value, gradients = dense(a, b, temperature, sides)
        assert got.value == close(value, at_least=1)
        norm = np.linalg.norm(gradients)
        assert got.gradient_norm == close(norm)
        assert_close(got.gradients, gradients)

    @pytest.mark.parametrize("temperature", [0.005, 0.1])
    def test_sogclr_estimates_it(self, temperature):
        """With all examples in one batch, at their first visit, the estimate is exact."""
        a, b = (tf.constant(x) for x in projections(12, 8))
        contrastive_loss = sogclr_tf.GlobalContrastiveLoss(12, temperature)
        with tf.GradientTape() as tape:
            tape.watch([a, b])
            loss = contrastive_loss(a, b, tf.range(12))
        want = exact_global_objective((a, b), temperature=temperature)
        assert float(loss) == close(want.value, at_least=1)
        for got, half in zip(tape.gradient(loss, [a, b]), want.gradients, strict=True):
            assert_close(got, 2 * half)

    def test_orthogonal_views_can_be_checked_by_hand(self):
        """g = 1, so F = -1; softmax gives each of the 6 negatives 1/6, all of them orthogonal."""
        got = exact_global_objective((np.eye(4), np.eye(4)), temperature=0.3)
        assert got.value == close(-1, terms=4)
        # As anchor and as negative, of both views of the other examples, over 2N anchors.
        want = (1 - np.eye(4)) * (2 / 6 * 2) / 8
        assert_close(got.gradients, [want, want], terms=4)


def whole(**changes):
    """All of the images' views in one dictionary of arrays, with float views."""
    batch = next(iter(views(batch_size=N).stream()))
    return {**{key: value.numpy() for key, value in batch.items()}, **changes}


def by_tape(built, data, temperature):
    """(F, gradients by the trainable weights), all examples at once."""
    with tf.GradientTape() as tape:
        a, b = (built.project(data[key]) for key in ("view_a", "view_b"))
        loss = sogclr_tf.GlobalContrastiveLoss(N, temperature)(a, b, data["index"]) / 2
    return 2 * float(loss), tape.gradient(loss, built.trainable_weights)


class TestModel:
    @pytest.mark.parametrize("as_stream", [False, True])
    def test_gradient_by_the_weights(self, as_stream):
        built, data = model(), whole()
        built.fit(views(), epochs=2, verbose=0)
        before = built.get_weights()
        given = tf.data.Dataset.from_tensor_slices(data).batch(7) if as_stream else data
        got = exact_global_objective(built, given, block=10)
        value, gradients = by_tape(built, data, 0.5)
        assert got.value == close(value, at_least=1)
        assert got.gradient_norm == close(float(tf.linalg.global_norm(gradients)), terms=10000)
        assert_all_close(got.gradients, gradients)
        for now, then in zip(built.get_weights(), before, strict=True):
            np.testing.assert_array_equal(now, then)

    def test_views_are_those_of_the_first_epoch(self):
        built = model()
        got = exact_global_objective(built, views())
        want = exact_global_objective(built, views().epoch(0))
        assert got.value == want.value
        assert got.gradient_norm == want.gradient_norm

    def test_temperatures_of_isogclr(self):
        built, data = model("isogclr"), whole()
        temperatures = np.linspace(0.1, 0.6, N).astype(np.float32)
        built.contrastive_loss.temperatures.assign(temperatures)
        got = exact_global_objective(built, data)
        a, b = (built.project(data[key]).numpy() for key in ("view_a", "view_b"))
        plain = exact_global_objective((a, b), temperature=temperatures[data["index"]])
        rho = built.contrastive_loss.rho * temperatures.mean()
        assert got.value == close(plain.value + rho, at_least=1)

    def test_a_step_along_the_gradient_lowers_it(self):
        built, data = model(), whole()
        before = exact_global_objective(built, data)
        rate = 1e-3 / before.gradient_norm
        for weight, gradient in zip(built.trainable_weights, before.gradients, strict=True):
            weight.assign_sub(rate * gradient)
        fallen = before.value - exact_global_objective(built, data).value
        assert fallen == pytest.approx(rate * before.gradient_norm**2, rel=0.05)


class TestBadInput:
    def test_floats_beyond_their_range(self):
        data = whole()
        data["view_b"] = tf.cast(data["view_b"], tf.float32)
        with pytest.raises(ValueError, match=r"^example \d+ of view_b has the value \d+, "):
            exact_global_objective(model(), data)

    def test_data_in_another_order_each_time(self):
        stream = tf.data.Dataset.from_tensor_slices(whole()).shuffle(N, seed=1).batch(6)
        with pytest.raises(ValueError, match="gave other examples when it was read again"):
            exact_global_objective(model(), stream)

    def test_other_examples_than_those_whose_temperatures_were_learned(self):
        built = model("isogclr")
        examples_check.check(built, views().source)
        built._trained_steps.assign(1)
        with pytest.raises(ValueError, match="example 0 was 'uint8 .*' and is 'uint8 .*' now"):
            exact_global_objective(built, views(IMAGES[::-1].copy()))

    def test_data_without_end(self):
        with pytest.raises(ValueError, match="an example occurs twice in the data"):
            exact_global_objective(model(), views().stream())

    def test_model_without_data(self):
        with pytest.raises(ValueError, match="give the views of all examples"):
            exact_global_objective(model())

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({}, "give temperature="),
            ({"temperature": -1}, "temperature is -1.0: expected a number > 0"),
            ({"temperature": np.ones(3)}, "one for each of 4 examples"),
            ({"temperature": 1, "negatives": "all"}, "choose one of both, other"),
            ({"temperature": 1, "block": 0}, "block is 0"),
        ],
    )
    def test_bad_option(self, options, message):
        with pytest.raises(ValueError, match=message):
            exact_global_objective(projections(4, 3), **options)

    def test_bad_shapes(self):
        with pytest.raises(ValueError, match=r"\(1, 3\) and \(1, 3\): expected \[N, D\] twice"):
            exact_global_objective(projections(1, 3), temperature=1)
        with pytest.raises(ValueError, match=r"\(4, 3\) and \(5, 3\): expected \[N, D\] twice"):
            exact_global_objective((np.ones((4, 3)), np.ones((5, 3))), temperature=1)


MEASURE = """
import pathlib, sys
import numpy as np
from sogclr_tf import exact_global_objective
from sogclr_tf.models import examples_check

a = np.random.default_rng(0).normal(size=(int(sys.argv[1]), 128)).astype(np.float32)
exact_global_objective((a, a[::-1]), temperature=0.1)
# Not ru_maxrss, which a process inherits from the one that started it.
status = pathlib.Path("/proc/self/status").read_text()
print(status.partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.parametrize(
    # All similarities of 10,000 examples at once would take 1.5 GiB, of 20,000 6, of 50,000 37.
    ("count", "limit"),
    [(10_000, 1.0), *exhaustive([], [(20_000, 1.5), (50_000, 2.0)])],
)
@pytest.mark.slow(reason="millions, and billions, of comparisons")
def test_memory(count, limit):
    """The most that a process of its own ever held, TensorFlow included, in GiB."""
    process = subprocess.run(
        [sys.executable, "-c", MEASURE, str(count)], capture_output=True, text=True, check=True
    )
    assert int(process.stdout) / 2**20 < limit
