"""When numbers that were computed in float32 are equal: one rule for the whole suite.

Rounding makes each of n additions wrong by up to half of float32's epsilon, and the errors of n of
them add up like a random walk, to about sqrt(n) of one. Processors differ in the order of additions
and in whether a product is rounded before it is added, so a result is known no better than that, by
the largest number that took part. Hence an array is right if every entry lies within

    8 * epsilon * sqrt(terms) * (the largest magnitude in the array)

of the one wanted. `terms` is how many numbers were added up behind an entry, in the order of
magnitude; with the default of 100 this is 1e-5 of the largest magnitude. The 8 is room for the few
operations (a logarithm, an exponential, a quotient) that stand around the sum.
"""

import numpy as np
import pytest

TERMS = 100


def tolerance(want, terms=TERMS, at_least=0.0, dtype="float32"):
    """How far from `want` a result may lie, a float.

    Args:
        want: array.
        terms: how many numbers were added up behind an entry.
        at_least: a magnitude that took part, where those of `want` may be smaller: the loss is a
            difference of similarities up to 1, and may be near 0.
        dtype: "float32", or a shorter one in which the sum, or what enters it, was rounded.
    """
    finite = np.abs(np.asarray(want, np.float64))
    largest = max(at_least, np.max(finite, initial=0.0, where=np.isfinite(finite)))
    epsilon = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype]
    return float(8 * epsilon * np.sqrt(terms) * largest)


def assert_close(got, want, terms=TERMS, *, at_least=0.0, dtype="float32", name=""):
    """Raises AssertionError unless `got` is `want` by the rule of this file; infinities are equal.

    Args:
        name: what the arrays are, for the message.
    """
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    allowed = tolerance(want, terms, at_least, dtype)
    np.testing.assert_allclose(got, want, rtol=0, atol=allowed, err_msg=name)


def assert_all_close(got, want, terms=TERMS):
    """The same of the arrays of one model, in order.

    An array is held to its own largest magnitude or, where it has less, to a tenth of the largest
    of all: what has no gradient, such as a bias before a batch normalization, is moved by the
    rounding of larger numbers alone.
    """
    got, want = ([np.asarray(array, np.float64) for array in arrays] for arrays in (got, want))
    assert len(got) == len(want)
    largest = max(np.max(np.abs(x), initial=0.0, where=np.isfinite(x)) for x in want)
    for number, arrays in enumerate(zip(got, want, strict=True)):
        assert_close(*arrays, terms, at_least=largest / 10, name=f"array {number}")


def close(want, terms=TERMS, *, at_least=0.0):
    """What equals a number, or each of several, by the rule of this file: `x == close(y)`."""
    return pytest.approx(want, rel=0, abs=tolerance(want, terms, at_least))
