"""The bytes of images in tar shards: at any place of a local one, in passing of a remote one."""

import os

import numpy as np
import tensorflow as tf

from sogclr_tf.data.files.decode_errors import UNREADABLE, UnreadableImageError
from sogclr_tf.printable import printable

# Bytes of a shard that are read at a time.
_PIECE = 1 << 20


def part_of_file(name: tf.Tensor, offset: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Some bytes of a local file: string scalar.

    TensorFlow has no operation that reads a part of a file without a data set of its own, which
    takes milliseconds.

    Args:
        name: string scalar.
        offset, size: int64 scalars, where they begin and how many they are.

    Raises:
        tf.errors.InvalidArgumentError: the file has not so many.
    """
    data = tf.numpy_function(_part_of_file, [name, offset, size], tf.string, stateful=False)
    return tf.ensure_shape(data, [])


def pieces(
    name: tf.Tensor, length: tf.Tensor, offsets: tf.Tensor, sizes: tf.Tensor
) -> tf.data.Dataset:
    """Parts of a file, which is read once from its start to its end.

    Args:
        name: string scalar.
        length: int64 scalar, of the file in bytes.
        offsets, sizes: int64 [n], where the parts begin, in order, and how long they are; none
            begins before the end of that before it.

    Returns:
        tf.data.Dataset of (int32 scalar, the number of the part; string scalar, its bytes).
    """
    ends = offsets + sizes
    whole = length // _PIECE * _PIECE
    blocks = tf.data.FixedLengthRecordDataset(
        name, _PIECE, footer_bytes=length - whole, buffer_size=_PIECE
    )
    rest = tf.data.FixedLengthRecordDataset(
        name, tf.maximum(length - whole, 1), header_bytes=whole, buffer_size=_PIECE
    )

    def cut(state, block):
        held, begin, done = state
        held = tf.strings.join([held, block])
        end = begin + tf.cast(tf.strings.length(held), tf.int64)
        ready = tf.searchsorted(ends, end[tf.newaxis], side="right")[0]
        numbers = tf.range(done, ready)
        parts = tf.strings.substr(held, offsets[done:ready] - begin, sizes[done:ready])
        keep = tf.minimum(tf.concat([offsets[ready:], [end]], 0)[0], end)
        held = tf.strings.substr(held, keep - begin, end - keep)
        return (held, keep, ready), (numbers, parts)

    start = (tf.constant(b""), tf.constant(0, tf.int64), tf.constant(0))
    return blocks.concatenate(rest).scan(start, cut).unbatch()


def _part_of_file(name, offset, size):
    # Eager execution gives arrays, a graph gives bytes.
    name, offset, size = (np.asarray(part).item() for part in (name, offset, size))
    try:
        with open(name, "rb", buffering=0) as file:
            file.seek(offset)
            data = file.read(size)
    except OSError as error:
        raise UnreadableImageError(f"{UNREADABLE}its tar cannot be read ({error})") from None
    if len(data) < size:
        raise UnreadableImageError(
            f"{UNREADABLE}its tar {printable(os.fsdecode(name))} ends before it"
        )
    return data
