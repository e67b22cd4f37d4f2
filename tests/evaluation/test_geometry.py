"""Alignment and uniformity: by hand, and by loops."""

import numpy as np
import pytest
from support.numerics import close

from sogclr_tf.evaluation.geometry import alignment, uniformity


def test_alignment_in_the_head():
    # The lengths do not count: the same direction, a right angle, the opposite.
    a = np.array([[1.0, 0], [0, 2], [1, 0]])
    b = np.array([[5.0, 0], [3, 0], [-1, 0]])
    assert alignment(a[:1], b[:1]) == 0
    assert alignment(a[1:2], b[1:2]) == 2
    assert alignment(a[2:], b[2:]) == 4
    assert alignment(a, b) == 2


def test_uniformity_in_the_head():
    assert uniformity([[1.0, 0], [3, 0]]) == 0
    assert uniformity([[1.0, 0], [-1, 0]]) == close(-2 * 4, terms=4)
    # A cross has four right angles, at distance 2, and two pairs of opposites, at 4.
    cross = [[1.0, 0], [0, 1], [-1, 0], [0, -1]]
    expected = np.log((4 * np.exp(-4) + 2 * np.exp(-8)) / 6)
    assert uniformity(cross) == close(expected, terms=4)
    assert uniformity(np.eye(1000)) == close(-4, terms=4)


@pytest.mark.parametrize("block_size", [None, 1, 7, 100])
@pytest.mark.parametrize("t", [2.0, 0.5])
def test_alignment_and_uniformity_agree_with_loops(block_size, t):
    a, b = np.random.default_rng(0).normal(size=(2, 30, 5))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    distances = [sum((a[i, c] - b[i, c]) ** 2 for c in range(5)) for i in range(30)]
    assert alignment(2 * a, b) == close(np.mean(distances))
    potentials = [np.exp(-t * np.sum((a[i] - a[j]) ** 2)) for j in range(30) for i in range(j)]
    found = uniformity(3 * a, t=t, block_size=block_size)
    assert found == close(np.log(np.mean(potentials)))


def test_alignment_and_uniformity_refuse():
    with pytest.raises(ValueError, match="features_a holds 2 examples, features_b 3"):
        alignment(np.ones((2, 4)), np.ones((3, 4)))
    with pytest.raises(ValueError, match="features_b must be finite"):
        alignment(np.ones((1, 2)), np.full((1, 2), np.nan))
    with pytest.raises(ValueError, match=r"compares pairs, got features of shape \(1, 4\)"):
        uniformity(np.ones((1, 4)))
    with pytest.raises(ValueError, match="t must be above 0, got 0"):
        uniformity(np.ones((2, 4)), t=0)
