"""Products of float32 matrices on a device that rounds the factors, which is acted here."""

import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close, tolerance

from sogclr_tf.losses import products
from sogclr_tf.losses.registry import build_loss, loss_names

N, WIDTH = 12, 128
real_matmul = tf.matmul


def rounded(x):
    """As the matrix unit of a TPU takes a float32: in bfloat16."""
    return tf.cast(tf.cast(x, tf.bfloat16), tf.float32)


@pytest.fixture
def device(monkeypatch):
    """A device whose products round their factors, as `products` is told or not."""

    def act(told):
        monkeypatch.setattr(products, "_rounds_factors", lambda: told)
        monkeypatch.setattr(
            tf, "matmul", lambda x, y, **how: real_matmul(*map(rounded, (x, y)), **how)
        )

    return act


def factors(shape_x, shape_y):
    random = np.random.default_rng(0)
    x, y = (random.normal(size=shape).astype(np.float32) for shape in (shape_x, shape_y))
    return tf.constant(x), tf.constant(y)


@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True)])
def test_equals_float64(device, transposed):
    shapes = zip([(9, 64), (64, 7)], transposed, strict=True)
    x, y = factors(*[shape[::-1] if turned else shape for shape, turned in shapes])
    how = dict(zip(("transpose_a", "transpose_b"), transposed, strict=True))
    want = real_matmul(tf.cast(x, tf.float64), tf.cast(y, tf.float64), **how).numpy()
    device(told=False)
    worst = np.max(np.abs(products.matmul(x, y, **how) - want))
    assert worst > 10 * tolerance(want, terms=64)
    device(told=True)
    assert_close(products.matmul(x, y, **how), want, terms=64)


def test_gradients_equal_those_of_float64(device):
    x, y = factors((9, 64), (64, 7))
    upstream = factors((9, 7), (1, 1))[0]
    device(told=True)
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        total = tf.reduce_sum(upstream * products.matmul(x, y))
    of_x, of_y = tape.gradient(total, [x, y])
    wide = [tf.cast(t, tf.float64).numpy() for t in (x, y, upstream)]
    assert_close(of_x, wide[2] @ wide[1].T)
    assert_close(of_y, wide[0].T @ wide[2])


def test_parts_add_up_and_fit_bfloat16():
    x = tf.constant(np.random.default_rng(0).normal(size=1000).astype(np.float32) ** 3)
    parts = products._parts(x)
    for part in parts:
        np.testing.assert_array_equal(rounded(part), part)
    np.testing.assert_array_equal(parts[0] + (parts[1] + parts[2]), x)


@pytest.mark.parametrize("name", loss_names())
def test_every_loss_is_exact_there(device, name):
    """At a temperature at which eight bits of a similarity are far too few."""
    random = np.random.default_rng(1)
    a, b = (tf.constant(random.normal(size=(N, WIDTH)), tf.float32) for _ in "ab")
    index = tf.range(N)

    def loss_and_gradients():
        # Without a bias of -10, by which all sigmoids are 0 or 1.
        options = {"bias": 0.0} if name == "siglip" else {}
        loss = build_loss(name, N, temperature=0.05, **options)
        with tf.GradientTape() as tape:
            tape.watch([a, b])
            value = loss(a, b, index)
        return value, *tape.gradient(value, [a, b])

    def errors():
        """By the rule of the suite, of similarities up to 1 over the temperature: 1 is too much."""
        pairs = zip(loss_and_gradients(), want, strict=True)
        allowed = [tolerance(exact, terms=WIDTH, at_least=0.1) for exact in want]
        return [np.max(np.abs(g - w)) / t for (g, w), t in zip(pairs, allowed, strict=True)]

    want = loss_and_gradients()
    device(told=False)
    assert max(errors()) > 10
    device(told=True)
    assert max(errors()) < 1
