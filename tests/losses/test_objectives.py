"""What every objective promises, whatever it minimizes."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close, close
from support.objectives import NAMES, build, loss_and_gradients, projections, with_option


@pytest.mark.parametrize("name", NAMES)
class TestEveryObjective:
    def test_half_precision_is_computed_in_float32(self, name):
        a, b = projections(4, 8, seed=1)
        for dtype in (tf.float16, tf.bfloat16):
            low = [tf.cast(x, dtype) for x in (a, b)]
            same = [tf.cast(x, tf.float32) for x in low]
            loss = build(name)(*low, np.arange(4))
            assert loss.dtype == tf.float32
            assert float(loss) == float(build(name)(*same, np.arange(4)))

    def test_scale_of_projections_does_not_matter(self, name):
        a, b = projections(4, 8, seed=1)
        loss = float(build(name)(a, b, np.arange(4)))
        assert float(build(name)(1000 * a, 0.001 * b, np.arange(4))) == close(loss, at_least=1)

    @pytest.mark.parametrize("temperature", [0.005, 1.0])
    def test_no_overflow(self, name, temperature):
        a, b = projections(4, 8, seed=1)
        contrastive_loss = build(name, 4, temperature=temperature)
        for _ in range(3):
            for result in loss_and_gradients(contrastive_loss, a, b, np.arange(4)):
                assert np.isfinite(result).all()
            for weight in contrastive_loss.weights:
                assert np.isfinite(weight).all(), weight.path

    def test_zero_projection_gives_finite_gradients(self, name):
        a, b = projections(4, 8, seed=1)
        a[2] = 0
        for gradient in loss_and_gradients(build(name), a, b, np.arange(4))[1:]:
            assert np.isfinite(gradient).all()

    def test_graph_and_xla_equal_eager(self, name):
        a, b = projections(4, 8, seed=1)
        results = []
        for wrap in (lambda f: f, tf.function, lambda f: tf.function(f, jit_compile=True)):
            contrastive_loss = build(name)
            step = wrap(lambda a, b, index, f=contrastive_loss: f(a, b, index))
            losses = [float(step(a, b, tf.constant([0, 1, 2, 3 + k]))) for k in range(3)]
            results.append((losses, [w.numpy() for w in contrastive_loss.weights]))
        for losses, weights in results[1:]:
            assert_close(losses, results[0][0], at_least=1)
            for got, want in zip(weights, results[0][1], strict=True):
                assert_close(got, want)

    def test_no_step_makes_anything_of_the_size_of_the_table(self, name):
        """So a step costs the same whatever N is, and the tables are all that grows with it."""
        size = 10_007
        falling = {"gamma_decay_steps": 9} if name in with_option("gamma_decay_steps") else {}
        contrastive_loss = build(name, size, **falling)

        @tf.function
        def step(a, b, index):
            return tf.gradients(contrastive_loss(a, b, index), [a, b])

        spec = tf.TensorSpec([4, 8])
        graph = step.get_concrete_function(spec, spec, tf.TensorSpec([4], tf.int32)).graph
        operations = graph.get_operations()
        large = [op.name for op in operations for out in op.outputs if size in (out.shape or ())]
        assert not large

    def test_evaluation_leaves_the_table_alone(self, name):
        a, b = projections(4, 8, seed=1)
        # A temperature of all that the loss moves itself counts in evaluation too.
        still = {"eta": 0.0} if name in with_option("eta") else {}
        contrastive_loss = build(name, **still)
        first = float(contrastive_loss(a, b, np.arange(4)))
        before = [w.numpy() for w in contrastive_loss.weights]
        held_out = float(contrastive_loss(b, a, np.arange(4), training=False))
        assert held_out == close(first, at_least=1)
        for weight, kept in zip(contrastive_loss.weights, before, strict=True):
            np.testing.assert_array_equal(weight, kept)

    def test_config_round_trip(self, name):
        other = {"negatives": "other"} if name in with_option("negatives") else {}
        contrastive_loss = build(name, temperature=0.3, **other)
        again = type(contrastive_loss).from_config(contrastive_loss.get_config())
        assert again.get_config() == contrastive_loss.get_config()
        a, b = projections(4, 8, seed=1)
        assert float(again(a, b, np.arange(4))) == float(contrastive_loss(a, b, np.arange(4)))

    def test_contrast_accuracy(self, name):
        """Two of four examples have identical views; the others' views are swapped."""
        a = tf.eye(4)
        _, metrics = build(name).loss_and_metrics(a, tf.gather(a, [0, 1, 3, 2]), tf.range(4))
        assert float(metrics["contrast_accuracy"]) == close(0.5, terms=4)

    def test_alignment_and_uniformity(self, name):
        """Wang and Isola's, over views and the views they are told from, one at a time."""
        built = build(name)
        if "uniformity" not in built.metric_names:
            assert name.partition("/")[0] in ("two_way", "clip", "siglip")
            return
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in projections(5, 7, seed=2))
        _, metrics = built.loss_and_metrics(tf.constant(a), tf.constant(b), tf.range(5))
        potentials = [
            np.exp(-2 * np.sum((x[i] - y[j]) ** 2))
            for x, y in itertools.product((a, b), repeat=2)
            for i, j in itertools.permutations(range(5), 2)
            if built.negatives == "both" or x is not y
        ]
        expected = np.mean(np.sum((a - b) ** 2, axis=1))
        assert float(metrics["alignment"]) == close(expected)
        assert float(metrics["uniformity"]) == close(np.log(np.mean(potentials)))

    @pytest.mark.parametrize("temperature", [0, -0.1, float("nan")])
    def test_bad_temperature(self, name, temperature):
        with pytest.raises(ValueError, match="temperature is .* must be > 0"):
            build(name, temperature=temperature)

    def test_bad_shapes(self, name):
        with pytest.raises(ValueError, match="global batch must be >= 2"):
            build(name)(np.ones((1, 4), np.float32), np.ones((1, 4), np.float32), np.array([0]))
        with pytest.raises(ValueError, match=r"expected \[B, D\] twice"):
            build(name)(np.ones((2, 4), np.float32), np.ones((3, 4), np.float32), np.arange(2))


@pytest.mark.parametrize("name", with_option("negatives"))
def test_bad_negatives(name):
    with pytest.raises(ValueError, match="unknown negatives 'all': choose one of both, other"):
        build(name, negatives="all")
