"""The u-table: which rows a step changes, and what is kept of it."""

import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close
from support.objectives import NAMES, N, build, projections

from sogclr_tf import (
    GlobalContrastiveLoss,
)


class TestTable:
    def test_first_visit_then_average(self):
        """Anchors along one axis: all similarities 1, so g = exp(1/temperature) each time."""
        contrastive_loss = GlobalContrastiveLoss(4, temperature=1.0, gamma=0.25)
        alike, apart = np.ones((2, 2), np.float32), np.eye(2, dtype=np.float32)
        contrastive_loss(alike, alike, np.array([1, 3]))
        assert_close(contrastive_loss.log_u, [-np.inf, 1, -np.inf, 1], terms=4)
        contrastive_loss(apart, apart, np.array([1, 2]))
        u = np.exp(contrastive_loss.log_u.numpy())
        assert_close(u, [0, 0.75 * np.e + 0.25, 1, np.e], terms=4)

    def test_gamma_one_forgets(self):
        contrastive_loss = GlobalContrastiveLoss(2, temperature=0.5, gamma=1.0)
        for seed in range(3):
            a, b = projections(2, 4, seed)
            contrastive_loss(a, b, np.arange(2))
        fresh = GlobalContrastiveLoss(2, temperature=0.5, gamma=0.5)
        fresh(a, b, np.arange(2))
        assert_close(contrastive_loss.log_u, fresh.log_u, terms=4)

    @pytest.mark.parametrize("name", [name for name in NAMES if build(name).has_table])
    def test_repeated_index_keeps_the_first_occurrence(self, name):
        a, b = projections(4, 8, seed=1)
        repeated, distinct, untouched = (build(name, 5) for _ in range(3))
        repeated(a, b, np.array([0, 3, 3, 0]))
        distinct(a, b, np.array([0, 3, 1, 2]))
        losses = (repeated, distinct, untouched)
        tables = [[w.numpy() for w in loss.weights if w.shape.rank] for loss in losses]
        for got, want, initial in zip(*tables, strict=True):
            np.testing.assert_array_equal(got[[0, 3]], want[[0, 3]])
            np.testing.assert_array_equal(got[[1, 2, 4]], initial[[1, 2, 4]])

    @pytest.mark.parametrize("wrong", [-1, 12])
    def test_index_outside_is_named(self, wrong):
        a, b = projections(2, 4, seed=1)
        with pytest.raises(ValueError, match=rf"index {wrong} is outside \[0, 12\)"):
            GlobalContrastiveLoss(N)(a, b, np.array([3, wrong]))

    def test_index_outside_stops_a_graph_on_cpu(self):
        a, b = projections(2, 4, seed=1)
        step = tf.function(GlobalContrastiveLoss(N))
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"indices\[1\] = {N}"):
            step(a, b, tf.constant([3, N]))

    def test_index_outside_is_nan_where_scatter_is_silent(self):
        """XLA clamps and drops such indices, as accelerators do."""
        a, b = projections(2, 4, seed=1)
        step = tf.function(GlobalContrastiveLoss(N), jit_compile=True)
        assert np.isnan(float(step(a, b, tf.constant([3, N]))))

    @pytest.mark.parametrize("gamma", [0, -0.5, 1.1, float("nan")])
    def test_bad_gamma(self, gamma):
        with pytest.raises(ValueError, match=r"gamma is .* must lie in \(0, 1\]"):
            GlobalContrastiveLoss(N, gamma=gamma)

    @pytest.mark.parametrize("num_examples", [0, 1, 2.5])
    def test_bad_num_examples(self, num_examples):
        with pytest.raises(ValueError, match="num_examples is .* whole number >= 2"):
            GlobalContrastiveLoss(num_examples)
