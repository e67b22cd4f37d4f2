"""Products of matrices in float32 on every device."""

import tensorflow as tf

from sogclr_tf.losses import replica

# Clears all but the sign, the exponent and the first 7 bits of a float32's mantissa.
_FIRST_BITS = -(1 << 16)


def matmul(
    x: tf.Tensor, y: tf.Tensor, transpose_a: bool = False, transpose_b: bool = False
) -> tf.Tensor:
    """`tf.matmul` of float32, whose factors keep all their bits.

    A TPU rounds the factors of a float32 product to bfloat16, 8 bits of 24, and a GPU with TF32 to
    11, both in silence. A similarity near 1 may then be wrong by 2**-8, which at temperature 0.01
    is a factor of 1.5 in its exponential. There each factor is taken apart into three that bfloat16
    and TF32 hold exactly, and the products of these are added up. Elsewhere it is `tf.matmul`.

    Args:
        x: float32 [n, k], or [k, n] with `transpose_a`.
        y: float32 [k, m], or [m, k] with `transpose_b`.

    Returns:
        float32 [n, m], with gradients of the same precision.
    """
    if not _rounds_factors():
        return tf.matmul(x, y, transpose_a=transpose_a, transpose_b=transpose_b)
    x = tf.transpose(x) if transpose_a else x
    y = tf.transpose(y) if transpose_b else y
    return _in_parts(x, y)


def _rounds_factors() -> bool:
    """Whether products of float32 are taken in fewer bits here."""
    if replica.on_tpu():
        return True
    rounded = tf.config.experimental.tensor_float_32_execution_enabled()
    return rounded and bool(tf.config.list_physical_devices("GPU"))


@tf.custom_gradient
def _in_parts(x, y):
    """x y, of float32 [n, k] and [k, m]."""

    def gradient(upstream):
        return _in_parts(upstream, tf.transpose(y)), _in_parts(tf.transpose(x), upstream)

    of_x, of_y = _parts(x), _parts(y)
    # Of nine products the three smallest are below what float32 rounds off.
    pairs = [(i, j) for i in range(3) for j in range(3 - i)]
    smallest_first = sorted(pairs, key=sum, reverse=True)
    return tf.add_n([tf.matmul(of_x[i], of_y[j]) for i, j in smallest_first]), gradient


def _parts(values):
    """Three float32 tensors that add up to `values`, with 8 bits of mantissa each."""
    parts = []
    for _ in range(3):
        # Not by a cast there and back, which XLA is free to leave out.
        bits = tf.bitwise.bitwise_and(tf.bitcast(values, tf.int32), _FIRST_BITS)
        parts.append(tf.bitcast(bits, tf.float32))
        values = values - parts[-1]
    return parts
