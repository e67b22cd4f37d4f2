"""The random numbers of augmentation: a function of (seed, epoch, index, view) and nothing else."""

from typing import Any

import numpy as np
import tensorflow as tf

# The CPU computes exp 16 at a time and rounds what is left over differently: in rows of a multiple
# of 16 a result does not depend on its place in the batch.
_LANES = 16
# What the numbers of one view's row of draws, each uniform in [0, 1), decide.
GEOMETRY: dict[str, Any] = {
    "area": slice(0, _LANES),
    "aspect": slice(_LANES, 2 * _LANES),
    "top": 32,
    "left": 33,
    "flip": 34,
}
COLOR: dict[str, Any] = {
    "jitter": 35,
    "order": slice(36, 40),
    "brightness": 40,
    "contrast": 41,
    "saturation": 42,
    "hue": 43,
    "grayscale": 44,
    "blur": 45,
    "sigma": 46,
    "solarize": 47,
}
_DRAWS = 48
# Of SplitMix64: the distance of two states, and the factors of its mixing.
_STEP, _FACTORS = 0x9E3779B97F4A7C15, (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def draws(seed: int | tf.Tensor, epoch: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """All randomness of the two views of each example, uniform in [0, 1): float32 [..., 2, draws].

    The numbers of SplitMix64 (Steele, Lea and Flood 2014), started at a mixture of the arguments.
    TensorFlow's own generators take one seed for a whole batch.

    Args:
        seed: int scalar in [0, 2**31).
        epoch, index: ints in [0, 2**31) of one shape [...]. Equal arguments give equal draws,
            whatever else is drawn, on any device and in any thread.
    """
    step, state = tf.constant(_STEP, tf.uint64), _state(seed, epoch, index)
    places = tf.constant(np.arange(1, 2 * _DRAWS + 1).reshape(2, _DRAWS), tf.uint64)
    numbers = _mixed(state[..., tf.newaxis, tf.newaxis] + places * step)
    # The upper 24 bits: as many as a float32 holds.
    return tf.cast(tf.bitwise.right_shift(numbers, tf.constant(40, tf.uint64)), tf.float32) / 2**24


def seeds(seed: int | tf.Tensor, epoch: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """A seed for each of one example's two views, for augmentations of one's own: int64 [2, 2].

    Args:
        seed, epoch, index: as for `draws`, of whose numbers these tell nothing.
    """
    high = tf.bitwise.left_shift(tf.cast(seed, tf.int64), tf.constant(32, tf.int64))
    # `draws` has the keys of indices below 2**31.
    key = tf.stack([high + tf.cast(epoch, tf.int64), tf.cast(index, tf.int64) + 2**32])
    return tf.random.stateless_uniform([2, 2], key, None, None, tf.int64, alg="philox")


def choice(
    seed: int | tf.Tensor, epoch: tf.Tensor, index: tf.Tensor, count: tf.Tensor
) -> tf.Tensor:
    """One of `count` things that an example has, such as captions, each as likely: int32 [...].

    Args:
        seed, epoch, index: as for `draws`, of whose numbers this is none.
        count: int32 [...] > 0; the result lies in [0, count).
    """
    # Behind the last number of `draws`.
    place = tf.constant((2 * _DRAWS + 1) * _STEP % 2**64, tf.uint64)
    number = _mixed(_state(seed, epoch, index) + place)
    # The upper half of the product's bits: no number is favored by more than count / 2**32.
    upper = tf.bitwise.right_shift(number, tf.constant(32, tf.uint64))
    product = upper * tf.cast(count, tf.uint64)
    return tf.cast(tf.bitwise.right_shift(product, tf.constant(32, tf.uint64)), tf.int32)


def _state(seed: int | tf.Tensor, epoch: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Where the numbers of an example in an epoch begin: uint64 [...]."""
    state = tf.zeros_like(index, tf.uint64)
    for part in (seed, epoch, index):
        state = _mixed(state + tf.constant(_STEP, tf.uint64) + tf.cast(part, tf.uint64))
    return state


def _mixed(state: tf.Tensor) -> tf.Tensor:
    """SplitMix64's way from a state to a number: uint64."""
    for shift, factor in zip((30, 27), _FACTORS, strict=True):
        state = tf.bitwise.bitwise_xor(state, _shifted(state, shift))
        state *= tf.constant(factor, tf.uint64)
    return tf.bitwise.bitwise_xor(state, _shifted(state, 31))


def _shifted(number: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.right_shift(number, tf.constant(bits, tf.uint64))
